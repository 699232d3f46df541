# SPDX-License-Identifier: Apache-2.0
"""Cluster-pool IPAM: a share of the pod ranges for each node."""
