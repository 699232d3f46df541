# SPDX-License-Identifier: Apache-2.0
"""Rows of the store in order of time, as they were at one moment. Pure.

Only numbers are kept; a row that is overwritten before it is read counts as missed.
"""

from __future__ import annotations

import numpy as np

from cilium_hubble.flows.chunk import Chunk
from cilium_hubble.flows.store import Store


class View:
    """Rows `start` to `end - 1`."""

    def __init__(self, store: Store, start: int, end: int) -> None:
        """Sort now, unless the rows are in order as they nearly always are."""
        self.end = end
        self._store = store
        self._sequences = np.arange(start, end)
        times = store.times(start, end)
        if not bool((times[1:] >= times[:-1]).all()):
            self._sequences = self._sequences[np.argsort(times, kind="stable")]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._sequences)

    def chunk(self, start: int, stop: int) -> tuple[Chunk, int]:
        """Return some of the rows, and how many of them are not held any more."""
        wanted = self._sequences[start:stop]
        held = wanted[wanted >= self._store.oldest]
        return Chunk(self._store.gather(held), held), len(wanted) - len(held)
