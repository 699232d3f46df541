# SPDX-License-Identifier: Apache-2.0
"""The canary: traffic on a fixed schedule through the whole suite, judged against a loss budget.

A `sender` pod sends to a `near` pod on its own node and to a `far` pod on another one, over both
families, and counts what was lost; `report` collects that and judges it.
"""
