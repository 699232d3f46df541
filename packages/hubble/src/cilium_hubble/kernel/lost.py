# SPDX-License-Identifier: Apache-2.0
"""What the ring could not take: per-CPU counters that the programs keep, and only raise.

One counter a type of event; here they are added up.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.errors import LayoutMismatch
from cilium_hubble.kernel import bpf


class LostCounter:
    """Reads the counters of all CPUs. The first read is the base of later growth."""

    def __init__(self, fd: int, entries: int) -> None:
        """Wrap an open per-CPU array of u64 counters; use `open_lost`."""
        self._fd = fd
        self._keys = [number.to_bytes(4, sys.byteorder) for number in range(entries)]
        self._size = 8 * bpf.possible_cpus()
        self._last = self._read()

    @property
    def total(self) -> int:
        """Events lost since the map was made, as of the last read."""
        return int(self._last.sum())

    def grown(self) -> dict[int, int]:
        """Return what was lost since the last call, by CPU; CPUs that lost nothing are left out."""
        now = self._read()
        growth = now - self._last
        self._last = now
        return {int(cpu): int(growth[cpu]) for cpu in np.flatnonzero(growth)}

    def _read(self) -> NDArray[np.uint64]:
        total = np.zeros(self._size // 8, "u8")
        for key in self._keys:
            total += np.frombuffer(bpf.lookup(self._fd, key, self._size), "u8")
        return total

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def open_lost(path: Path) -> LostCounter | None:
    """Open the counter pinned at `path`; None when nothing is pinned. LayoutMismatch if odd."""
    fd = bpf.open_pin(path)
    if fd is None:
        return None
    info = bpf.map_info(fd)
    if (info.kind, info.key_size, info.value_size) != (bpf.PERCPU_ARRAY, 4, 8):
        os.close(fd)
        raise LayoutMismatch(f"{path} is not a per-CPU array of 64-bit counters: {info}")
    return LostCounter(fd, info.max_entries)
