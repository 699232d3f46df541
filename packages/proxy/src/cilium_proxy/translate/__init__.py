# SPDX-License-Identifier: Apache-2.0
"""Rule sets as resources of stock Envoy. Pure: no socket, no loop, no state."""
