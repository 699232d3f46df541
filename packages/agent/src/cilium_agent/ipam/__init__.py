# SPDX-License-Identifier: Apache-2.0
"""Pod addresses of this node."""
