# SPDX-License-Identifier: Apache-2.0
"""The CNI side of the agent: what the plugin on the host asks, answered."""
