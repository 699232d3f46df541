# SPDX-License-Identifier: Apache-2.0
"""Exponential backoff with jitter. One object per retry loop; not shared."""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Delays that double from `first` to `limit` seconds, each shortened by up to a half."""

    def __init__(self, first: float = 0.2, limit: float = 10.0) -> None:
        """Start at `first`."""
        self._first = first
        self._limit = limit
        self._next = first

    def reset(self) -> None:
        """Start over (something went well)."""
        self._next = self._first

    def delay(self) -> float:
        """Return the next delay in seconds."""
        now, self._next = self._next, min(self._next * 2, self._limit)
        return now * random.uniform(0.5, 1.0)

    async def sleep(self) -> None:
        """Wait for the next delay."""
        await asyncio.sleep(self.delay())
