# SPDX-License-Identifier: Apache-2.0
"""Where a query finds rows: each source has some in order of time, and the names of them. Pure.

Of the store only numbers are kept; a row that is overwritten before it is read counts as missed.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.chunk import Chunk, Names
from cilium_hubble.flows.store import Store
from cilium_hubble.history.packing import Segment

NEWEST = 1 << 62  # the store's order among sources: after all segments


class Source(Protocol):
    """Rows in order of time. Of rows of the same time those of the lower `order` are older."""

    order: int
    names: Names
    times: NDArray[np.int64]

    def chunk(self, start: int, stop: int) -> tuple[Chunk, int]:
        """Return some of the rows, and how many of them are not held any more."""
        ...


class View:
    """Rows `start` to `end - 1` of the store as they were at one moment."""

    order = NEWEST

    def __init__(self, store: Store, names: Names, start: int, end: int) -> None:
        """Sort now, unless the rows are in order as they nearly always are."""
        self.start = start
        self.end = end
        self.names = names
        self._store = store
        self._sequences = np.arange(start, end)
        self.times = store.times(start, end)
        if not bool((self.times[1:] >= self.times[:-1]).all()):
            order = np.argsort(self.times, kind="stable")
            self._sequences, self.times = self._sequences[order], self.times[order]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._sequences)

    def sequences(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of some of the rows, in order of time."""
        return self._sequences[start:stop]

    def chunk(self, start: int, stop: int) -> tuple[Chunk, int]:
        """Return some of the rows, and how many of them are not held any more."""
        wanted = self._sequences[start:stop]
        held = wanted[wanted >= self._store.oldest]
        return Chunk(self._store.gather(held), held), len(wanted) - len(held)


class Past:
    """Rows of a segment of the history, those before row `below` of the run."""

    def __init__(self, segment: Segment, order: int, below: int | None) -> None:
        """`below` is None for all of them."""
        self.order = order
        self.names = segment.names
        rows, sequences = segment.rows, segment.sequences
        if below is not None and len(sequences) and int(sequences.max()) >= below:
            older = sequences < below
            rows, sequences = rows[older], sequences[older]
        self._rows = rows
        self._sequences = sequences
        self.times: NDArray[np.int64] = rows["time"]

    def chunk(self, start: int, stop: int) -> tuple[Chunk, int]:
        """Return some of the rows; none is missing."""
        return Chunk(self._rows[start:stop].copy(), self._sequences[start:stop]), 0
