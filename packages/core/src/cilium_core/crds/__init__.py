# SPDX-License-Identifier: Apache-2.0
"""Custom resources: their definitions for the API server and their typed structures. Pure."""
