# SPDX-License-Identifier: Apache-2.0
"""ANSI colours around words, or none. Pure but for `wanted`."""

from __future__ import annotations

import os
from typing import Literal, TextIO

When = Literal["auto", "always", "never"]
_RESET = "\x1b[0m"
_RED, _GREEN, _YELLOW, _MAGENTA, _CYAN = 31, 32, 33, 35, 36


class Colors:
    """Upstream's choice of colours."""

    def __init__(self, enabled: bool) -> None:
        """Colour everything or nothing."""
        self._enabled = enabled

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}{_RESET}" if self._enabled else text

    def host(self, text: str) -> str:
        """Paint a host."""
        return self._paint(text, _CYAN)

    def port(self, port: int) -> str:
        """Paint a port."""
        return self._paint(str(port), _YELLOW)

    def identity(self, text: str) -> str:
        """Paint an identity."""
        return self._paint(text, _MAGENTA)

    def forwarded(self, text: str) -> str:
        """Paint what went well."""
        return self._paint(text, _GREEN)

    def dropped(self, text: str) -> str:
        """Paint what did not."""
        return self._paint(text, _RED)

    def noted(self, text: str) -> str:
        """Paint what was only looked at."""
        return self._paint(text, _YELLOW)


def wanted(when: When, out: TextIO) -> bool:
    """Tell whether to colour: `auto` means a terminal, and no NO_COLOR."""
    if when == "auto":
        return out.isatty() and not os.environ.get("NO_COLOR")
    return when == "always"
