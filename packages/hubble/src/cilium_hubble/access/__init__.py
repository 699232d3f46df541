# SPDX-License-Identifier: Apache-2.0
"""What the node's proxies saw, taken from them as they push it."""
