# SPDX-License-Identifier: Apache-2.0
"""Flows on disk: what left the ring in memory, for as long as bytes and age allow."""
