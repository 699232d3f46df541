# SPDX-License-Identifier: Apache-2.0
"""Recorded outputs that this system is held against."""
