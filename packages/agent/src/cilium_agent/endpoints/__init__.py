# SPDX-License-Identifier: Apache-2.0
"""This node's endpoints: made, kept over restarts, changed and removed."""
