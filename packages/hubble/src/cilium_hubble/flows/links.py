# SPDX-License-Identifier: Apache-2.0
"""Interface names by number. A number is not given twice, so a name once seen is kept."""

from __future__ import annotations

import socket
import time

_RETRY_SECONDS = 10.0
_KEPT = 4096


class LinkNames:
    """Asks the kernel once for each number, again after a while for one that it does not know."""

    def __init__(self) -> None:
        """Know nothing yet. Runs in the node's network namespace."""
        self._names: dict[int, str] = {}
        self._unknown: dict[int, float] = {}

    def __call__(self, index: int) -> str:
        """Return the name, empty for 0 and the unknown."""
        if not index or index in self._names:
            return self._names.get(index, "")
        now = time.monotonic()
        if now < self._unknown.get(index, 0.0):
            return ""
        if len(self._names) + len(self._unknown) >= _KEPT:
            self._names.clear()
            self._unknown.clear()
        try:
            self._names[index] = socket.if_indextoname(index)
        except OSError:
            self._unknown[index] = now + _RETRY_SECONDS
            return ""
        return self._names[index]
