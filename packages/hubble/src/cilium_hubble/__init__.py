# SPDX-License-Identifier: Apache-2.0
"""Flows: observer, relay, UI and CLI."""
