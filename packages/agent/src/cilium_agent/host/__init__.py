# SPDX-License-Identifier: Apache-2.0
"""What the agent keeps on the node itself: devices, routes, sysctls, masquerade, CNI files."""
