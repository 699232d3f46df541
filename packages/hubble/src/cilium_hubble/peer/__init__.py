# SPDX-License-Identifier: Apache-2.0
"""The Peer API: which nodes have flows, and how each is reached."""
