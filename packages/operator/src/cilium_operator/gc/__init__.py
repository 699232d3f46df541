# SPDX-License-Identifier: Apache-2.0
"""Garbage collection of identities, endpoints and nodes that nobody uses any more."""
