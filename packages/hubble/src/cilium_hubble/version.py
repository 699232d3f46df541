# SPDX-License-Identifier: Apache-2.0
"""This package's version, as `hubble version` and the API tell it.

A constant: the image holds the code without the package's metadata.
"""

from __future__ import annotations

VERSION = "0.1.0"
