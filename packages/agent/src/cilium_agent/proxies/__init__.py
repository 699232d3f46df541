# SPDX-License-Identifier: Apache-2.0
"""What this node's proxies are told, and which connections are led to them."""
