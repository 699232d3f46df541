# SPDX-License-Identifier: Apache-2.0
"""The flows of the last while: a ring of rows in memory, each with a sequence number.

Queries see the last `capacity` rows; a few more are kept, so that a follower that falls behind
for a moment misses nothing. Rows are copied out. One writer, any number of readers, all on the
event loop.
"""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.record import LOST, STORED
from cilium_hubble.kernel.dtypes import Rows

MIN_SLOTS = 1 << 15


class Store:
    """Rows `oldest` to `next_sequence - 1` can be read."""

    def __init__(self, capacity: int) -> None:
        """Keep `capacity` rows for queries; memory is a power of two of rows above that."""
        self.capacity = capacity
        self._slots = max(MIN_SLOTS, 1 << capacity.bit_length() + 1)
        self._rows: Rows = np.zeros(self._slots, STORED)
        self._next = 0
        self._changed = asyncio.Event()
        self.flows = 0  # ever stored, rows of lost events left out

    @property
    def next_sequence(self) -> int:
        """The number that the next row will have."""
        return self._next

    @property
    def oldest(self) -> int:
        """The first row that is still held."""
        return max(0, self._next - self._slots)

    @property
    def first_shown(self) -> int:
        """The first row that a query sees."""
        return max(0, self._next - self.capacity)

    @property
    def shown(self) -> int:
        """How many rows a query sees."""
        return self._next - self.first_shown

    def append(self, rows: Rows) -> None:
        """Add rows and wake those who wait. Only the last ones stay when they are too many."""
        if not len(rows):
            return
        self.flows += int(np.count_nonzero(rows["type"] != LOST))
        end = self._next + len(rows)
        kept = rows[-self._slots :]
        start = (end - len(kept)) % self._slots
        first = min(len(kept), self._slots - start)
        self._rows[start : start + first] = kept[:first]
        self._rows[: len(kept) - first] = kept[first:]
        self._next = end
        self._changed.set()
        self._changed = asyncio.Event()

    def read(self, start: int, stop: int) -> Rows:
        """Return copies of rows `start` to `stop - 1`; all of them must be held."""
        if not self.oldest <= start <= stop <= self._next:
            raise IndexError(f"rows {start} to {stop}, held are {self.oldest} to {self._next}")
        low, high = start % self._slots, start % self._slots + (stop - start)
        if high <= self._slots:
            return self._rows[low:high].copy()
        return np.concatenate([self._rows[low:], self._rows[: high - self._slots]])

    def gather(self, sequences: NDArray[np.int64]) -> Rows:
        """Return copies of these rows, in this order; all of them must be held."""
        found: Rows = self._rows[sequences % self._slots]
        return found

    def times(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the times of rows `start` to `stop - 1`, which must be held."""
        found: NDArray[np.int64] = self._rows["time"][np.arange(start, stop) % self._slots]
        return found

    async def wait(self, sequence: int) -> None:
        """Return when row `sequence` can be read (at once if it can be)."""
        while self._next <= sequence:
            await self._changed.wait()

    async def wait_until(self, sequence: int, seconds: float) -> None:
        """Return as `wait`, or after so many seconds."""
        if self._next <= sequence:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait(sequence)

    def used(self, *columns: str) -> set[int]:
        """Return the interned numbers that held rows refer to in these columns."""
        rows = self._rows[: min(self._next, self._slots)]
        return {int(number) for column in columns for number in np.unique(rows[column])}
