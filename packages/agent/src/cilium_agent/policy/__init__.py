# SPDX-License-Identifier: Apache-2.0
"""Policies of the cluster to the node's policy tables: what is watched, resolved and written."""
