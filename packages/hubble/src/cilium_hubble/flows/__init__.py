# SPDX-License-Identifier: Apache-2.0
"""Flows at rest: compact records in memory, made into messages when somebody asks."""
