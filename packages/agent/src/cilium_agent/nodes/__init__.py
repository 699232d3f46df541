# SPDX-License-Identifier: Apache-2.0
"""This node and the others."""
