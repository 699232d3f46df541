# SPDX-License-Identifier: Apache-2.0
"""This package's version, as `hubble version` and the API tell it."""

from __future__ import annotations

VERSION = "0.1.0"
