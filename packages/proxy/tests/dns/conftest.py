# SPDX-License-Identifier: Apache-2.0
"""Puts the DNS tests' own helpers on the path (import mode is importlib)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
