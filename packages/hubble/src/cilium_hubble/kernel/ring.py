# SPDX-License-Identifier: Apache-2.0
"""Takes records out of a BPF ring buffer's memory: a batch at a time, copied, in order.

The kernel reserves a record (busy bit), fills it and commits or discards it; only committed ones
before the first busy one are taken, then the consumer's position moves. Every record has the size
of the layout: another size means another version wrote it. One reader, one thread.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cilium_core.layouts.events import Event
from cilium_hubble.errors import LayoutMismatch
from cilium_hubble.kernel.dtypes import EVENT, Rows

HEADER = 8  # length and page offset, before each record
BUSY = np.uint32(1 << 31)
DISCARDED = np.uint32(1 << 30)
_LENGTH = ~(BUSY | DISCARDED)
STRIDE = HEADER + Event.SIZE
SLOT = np.dtype([("length", "u4"), ("page", "u4"), ("event", EVENT)])


class RingMemory(Protocol):
    """The three mapped parts of a ring. Positions only grow; `size` is a power of two."""

    size: int
    data: NDArray[np.uint8]  # twice `size`: the second half mirrors the first
    producer: NDArray[np.uint64]  # one element, the kernel's
    consumer: NDArray[np.uint64]  # one element, ours


class Ring:
    """The reading end. `seen` counts the records taken, `discarded` those that were taken back."""

    def __init__(self, memory: RingMemory) -> None:
        """Go on where the last reader stopped: the position is in the ring itself."""
        self._memory = memory
        self._fence = threading.Lock()
        self.seen = 0
        self.discarded = 0

    def waiting(self) -> int:
        """Return the bytes between what was taken and what is written."""
        return int(self._memory.producer[0]) - int(self._memory.consumer[0])

    def read(self, limit: int) -> Rows:
        """Take up to `limit` records; an empty array when none is ready.

        LayoutMismatch when the next record has another size; records before it are taken first.
        """
        memory = self._memory
        position = int(memory.consumer[0])
        room = int(memory.producer[0]) - position
        if room < HEADER:
            return np.empty(0, EVENT)
        offset = position & (memory.size - 1)
        count = min(room // STRIDE, limit)
        slots: NDArray[Any] = np.ndarray(count, SLOT, memory.data.data, offset)
        lengths = slots["length"].copy()
        with self._fence:  # a lock's barrier: no record is read before its busy bit
            ready = _ready(lengths)
            if not ready:
                self._check(offset)
                return np.empty(0, EVENT)
            kept = (lengths[:ready] & DISCARDED) == 0
            events: Rows = slots["event"][:ready][kept]  # a copy, by the mask
        memory.consumer[0] = position + ready * STRIDE
        self.seen += len(events)
        self.discarded += ready - len(events)
        return events

    def _check(self, offset: int) -> None:
        header = int.from_bytes(self._memory.data[offset : offset + 4].tobytes(), "little")
        length = header & int(_LENGTH)
        if length != Event.SIZE:
            raise LayoutMismatch(
                f"the event ring holds records of {length} bytes, this hubble reads {Event.SIZE}:"
                " agent and hubble are of different versions"
            )


def _ready(lengths: NDArray[np.uint32]) -> int:
    """Return how many leading records are committed or discarded and of the right size."""
    stop = ((lengths & BUSY) != 0) | ((lengths & _LENGTH) != Event.SIZE)
    return int(stop.argmax()) if stop.any() else len(lengths)
