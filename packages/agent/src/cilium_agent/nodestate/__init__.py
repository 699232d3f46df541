# SPDX-License-Identifier: Apache-2.0
"""The node-state stream: what this node's other processes need to know of its endpoints."""
