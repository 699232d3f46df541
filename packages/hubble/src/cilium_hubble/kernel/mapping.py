# SPDX-License-Identifier: Apache-2.0
"""Maps a ring buffer's pages into this process: consumer page to write, the rest to read."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.errors import LayoutMismatch
from cilium_hubble.kernel import bpf


class MappedRing:
    """A RingMemory over a pinned ring. `fd` may be polled for reading; close it once."""

    def __init__(self, fd: int, info: bpf.MapInfo) -> None:
        """Map an open ring; use `open_ring`."""
        self.fd = fd
        self.map_id = info.map_id
        self.size = info.max_entries
        page = mmap.PAGESIZE
        self._maps = (
            mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0),
            mmap.mmap(fd, page + 2 * self.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page),
        )
        self.consumer: NDArray[np.uint64] = np.frombuffer(self._maps[0], "u8", 1)
        self.producer: NDArray[np.uint64] = np.frombuffer(self._maps[1], "u8", 1)
        self.data: NDArray[np.uint8] = np.frombuffer(self._maps[1], "u1", offset=page)

    def close(self) -> None:
        """Unmap and close; the ring and its position stay in the kernel."""
        del self.consumer, self.producer, self.data
        for part in self._maps:
            part.close()
        os.close(self.fd)


def open_ring(path: Path) -> MappedRing | None:
    """Map the ring pinned at `path`; None when nothing is pinned there.

    LayoutMismatch when what is pinned is no ring buffer.
    """
    fd = bpf.open_pin(path)
    if fd is None:
        return None
    info = bpf.map_info(fd)
    if info.kind != bpf.RINGBUF:
        os.close(fd)
        raise LayoutMismatch(f"{path} is a map of kind {info.kind}, not a ring buffer")
    return MappedRing(fd, info)


def pinned_id(path: Path) -> int | None:
    """Return the id of the map pinned at `path`, None when there is none."""
    fd = bpf.open_pin(path)
    if fd is None:
        return None
    try:
        return bpf.map_info(fd).map_id
    finally:
        os.close(fd)
