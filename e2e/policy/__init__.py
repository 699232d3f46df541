# SPDX-License-Identifier: Apache-2.0
"""Policies on the running cluster: who reaches whom, case by case."""
