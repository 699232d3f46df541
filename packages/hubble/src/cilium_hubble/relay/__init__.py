# SPDX-License-Identifier: Apache-2.0
"""Relay: the flows of all nodes as one stream in order of time."""
