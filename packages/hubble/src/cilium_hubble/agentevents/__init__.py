# SPDX-License-Identifier: Apache-2.0
"""What the node's agent did, as the Observer API tells it."""
