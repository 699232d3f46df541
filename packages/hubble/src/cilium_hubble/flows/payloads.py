# SPDX-License-Identifier: Apache-2.0
"""What rows of a fixed size cannot hold: the texts of requests, by number, within a byte budget.

The oldest go first. A row whose text is gone still tells who spoke to whom, when, and the verdict.
Pure, event loop only.
"""

from __future__ import annotations

from collections import OrderedDict

BUDGET = 32 << 20
_OVERHEAD = 200  # bytes of Python's own for each entry, about


class Payloads:
    """Texts by number; 0 is none."""

    def __init__(self, budget: int = BUDGET) -> None:
        """Hold `budget` bytes at most."""
        self._budget = budget
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._next = 1
        self.bytes = 0
        self.forgotten = 0

    def add(self, payload: bytes) -> int:
        """Keep a text and return its number."""
        number = self._next
        self._next += 1
        self._held[number] = payload
        self.bytes += len(payload) + _OVERHEAD
        while self.bytes > self._budget:
            _, oldest = self._held.popitem(last=False)
            self.bytes -= len(oldest) + _OVERHEAD
            self.forgotten += 1
        return number

    def get(self, number: int) -> bytes | None:
        """Return a text, None when it is gone."""
        return self._held.get(number)
