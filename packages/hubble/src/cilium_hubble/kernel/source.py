# SPDX-License-Identifier: Apache-2.0
"""The one reader of the kernel's ring on this node: batches of events, and what was lost.

A lock file keeps a second reader away. The agent may not have made the maps yet, or may make them
anew: the source waits, and notices. The programs wake nobody (a wake-up costs more than the
event), so the source polls: the busier the ring, the sooner again. Event loop only.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

import structlog

from cilium_hubble.errors import RingBusy
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.kernel.lost import LostCounter, open_lost
from cilium_hubble.kernel.mapping import MappedRing, open_ring, pinned_id
from cilium_hubble.kernel.ring import Ring

log = structlog.get_logger(__name__)

RING_NAME = "cilium_events_v1"
LOST_NAME = "cilium_event_lost_v1"
BATCH = 4096
PAUSES = ((BATCH, 0.0), (64, 0.005), (1, 0.02), (0, 0.04))  # after so many events, seconds
LOST_SECONDS = 1.0
PIN_SECONDS = 5.0


class Batch(NamedTuple):
    """Events in order, and events that the ring could not take (by CPU) between two wall times."""

    events: Rows
    lost: dict[int, int]
    since: int
    now: int


def lock(path: Path) -> int:
    """Take the reader's lock; keep the descriptor open. RingBusy when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise RingBusy(f"{path} is locked: another process reads the event ring") from error
    return fd


class EventSource:
    """Batches from the maps pinned in a folder. Counts are of this process's life."""

    def __init__(self, folder: Path, lock_path: Path) -> None:
        """Take the lock; nothing is opened yet. RingBusy as `lock`."""
        self._folder = folder
        self._lock = lock(lock_path)
        self._mapped: MappedRing | None = None
        self._lost: LostCounter | None = None
        self._ring: Ring | None = None
        self._past = (0, 0)  # seen and discarded of rings that were replaced
        self.lost = 0
        self.read_to = 0  # wall time (ns): older events are in batches that were yielded

    @property
    def seen(self) -> int:
        """Events taken out of the ring."""
        return self._past[0] + (self._ring.seen if self._ring is not None else 0)

    @property
    def lost_ever(self) -> int:
        """Events lost since the counter was made, before this process too."""
        return self._lost.total if self._lost is not None else 0

    @property
    def capacity(self) -> int:
        """The ring's size in bytes, 0 while there is none."""
        return self._mapped.size if self._mapped is not None else 0

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield batches for ever. LayoutMismatch when the maps are of another version."""
        while True:
            ring = await self._open()
            async for batch in self._until_replaced(ring):
                yield batch
            log.warning("the event ring was replaced; the new one is read from its start")
            self._close_maps()

    async def _until_replaced(self, ring: Ring) -> AsyncGenerator[Batch, None]:
        assert self._mapped is not None
        told = checked = time.monotonic()
        since = time.time_ns()
        while True:
            before = time.time_ns()
            events, lost, clock = ring.read(BATCH), {}, time.monotonic()
            if len(events) < BATCH:
                self.read_to = before
            if clock - told >= LOST_SECONDS or len(events) == BATCH:
                lost, told = self._grown(), clock
            if len(events) or lost:
                now = time.time_ns()
                yield Batch(events, lost, since, now)
                since = now if lost else since
            if clock - checked >= PIN_SECONDS:
                checked = clock
                if pinned_id(self._folder / RING_NAME) not in (self._mapped.map_id, None):
                    return
            await asyncio.sleep(next(pause for count, pause in PAUSES if len(events) >= count))

    def _grown(self) -> dict[int, int]:
        assert self._lost is not None
        lost = self._lost.grown()
        self.lost += sum(lost.values())
        return lost

    async def _open(self) -> Ring:
        waiting = False
        while True:
            self._mapped = self._mapped or open_ring(self._folder / RING_NAME)
            self._lost = self._lost or open_lost(self._folder / LOST_NAME)
            if self._mapped is not None and self._lost is not None:
                self._ring = Ring(self._mapped)
                return self._ring
            if not waiting:
                log.info("waiting for the agent to make the event ring", folder=str(self._folder))
                waiting = True
            await asyncio.sleep(1.0)

    def _close_maps(self) -> None:
        if self._ring is not None:
            self._past = (self.seen, self._past[1] + self._ring.discarded)
        self._ring = None
        if self._mapped is not None:
            self._mapped.close()
        if self._lost is not None:
            self._lost.close()
        self._mapped = self._lost = None

    def close(self) -> None:
        """Unmap, close and give the lock back. The next reader goes on where this one stopped."""
        self._close_maps()
        os.close(self._lock)
