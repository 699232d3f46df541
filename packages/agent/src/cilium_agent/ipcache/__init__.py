# SPDX-License-Identifier: Apache-2.0
"""Prefix to identity and tunnel endpoint."""
