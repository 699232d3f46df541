# SPDX-License-Identifier: Apache-2.0
"""Walks the store for one query: where to begin, what passes, what a slow follower has missed.

What there is at the start is walked in order of time, what comes later as it comes: proxies'
records come later than they were made. Rows are read in stretches; between two the event loop
turns, so that ingest goes on. The rows of one stretch are used up before the caller gives the loop
back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import numpy as np

from cilium_hubble.flows.chunk import Chunk
from cilium_hubble.flows.record import LOST, STORED, LostSource
from cilium_hubble.flows.store import Store
from cilium_hubble.observer.query import Query
from cilium_hubble.observer.view import View

STRETCH = 256
LOST_SECONDS = 1.0  # a slow follower hears of what it missed once a second


class Reader:
    """One query's way through the store. `missed` counts rows that were gone before it came.

    `complete_to` is the time (ns) up to which what the store will ever get has been passed by.
    """

    def __init__(
        self, store: Store, query: Query, clock: Callable[[], int], quiet: float | None = None
    ) -> None:
        """Nothing is read yet. `clock` tells up to which time the store is complete.

        With `quiet` (s) a follower that nothing passes for so long gets an empty chunk.
        """
        self._store = store
        self._query = query
        self._clock = clock
        self._quiet = quiet
        self.complete_to = 0
        self._told_at = 0.0
        self._untold = 0
        self._since = 0
        self.missed = 0

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield stretches of the rows that pass, oldest first, lost ones among them."""
        store, query = self._store, self._query
        view = View(store, store.first_shown, store.next_sequence)
        position, left = self._start(view), query.number
        while position < len(view):
            stop = min(position + STRETCH, len(view))
            chunk, missed = view.chunk(position, stop)
            position = stop
            self._miss(missed)
            self._passed(chunk, caught_up=view.end == store.next_sequence and stop == len(view))
            chunk, over = self._cut(chunk)
            passed = chunk.where(query.check(chunk))
            if query.number and not query.follow:
                passed, left = _take(passed, left)
            if (lost := self._lost_chunk()) is not None:
                yield lost
            if len(passed):
                yield passed
            if over or (query.number and not query.follow and not left):
                return
            await asyncio.sleep(0)
        if query.follow:
            async for chunk in self._following(view.end):
                yield chunk

    async def _following(self, position: int) -> AsyncGenerator[Chunk, None]:
        """Yield what comes from row `position` on, for ever."""
        store, query = self._store, self._query
        told = time.monotonic()
        while True:
            if self._quiet is not None:
                await store.wait_until(position, told + self._quiet - time.monotonic())
                if position == store.next_sequence:
                    self.complete_to, told = self._clock(), time.monotonic()
                    yield Chunk.of(store.read(position, position), position)
                    continue
            await store.wait(position)
            if position < store.oldest:
                self._miss(store.oldest - position)
                position = store.oldest
            stop = min(position + STRETCH, store.next_sequence)
            chunk = Chunk.of(store.read(position, stop), position).in_order()
            position = stop
            self._passed(chunk, caught_up=position == store.next_sequence)
            chunk, over = self._cut(chunk)
            passed = chunk.where(query.check(chunk))
            if (lost := self._lost_chunk()) is not None:
                yield lost
            if len(passed) or self._tell_quiet(told):
                told = time.monotonic()
                yield passed
            if over:
                return
            await asyncio.sleep(0)

    def _passed(self, chunk: Chunk, *, caught_up: bool) -> None:
        if caught_up:
            self.complete_to = self._clock()
        elif len(chunk):
            self.complete_to = max(self.complete_to, int(chunk.rows["time"].max()))

    def _tell_quiet(self, told: float) -> bool:
        quiet = self._quiet
        return quiet is not None and self._query.follow and time.monotonic() - told >= quiet

    def _start(self, view: View) -> int:
        query = self._query
        if query.since is not None or query.first:
            return 0
        if query.follow and not query.number:
            return len(view)
        return self._last(view, query.number) if query.number else 0

    def _last(self, view: View, number: int) -> int:
        """Return where the last `number` flows that pass begin."""
        found, position = 0, len(view)
        while position > 0:
            start = max(position - STRETCH, 0)
            chunk, _ = view.chunk(start, position)
            mask = self._query.check(chunk) & (chunk.rows["type"] != LOST)
            if self._query.until is not None:
                mask &= chunk.rows["time"] <= self._query.until
            places = np.flatnonzero(mask)
            if found + len(places) >= number:
                return start + int(places[len(places) - (number - found)])
            found += len(places)
            position = start
        return 0

    def _cut(self, chunk: Chunk) -> tuple[Chunk, bool]:
        """Leave out what is before `since`; stop at the first row after `until`."""
        times, lost, over = chunk.rows["time"], chunk.rows["type"] == LOST, False
        if self._query.until is not None:
            late = (times > self._query.until) & ~lost
            if late.any():
                chunk, over = chunk.where(slice(int(late.argmax()))), True
                times, lost = chunk.rows["time"], chunk.rows["type"] == LOST
        if self._query.since is not None:
            chunk = chunk.where((times >= self._query.since) | lost)
        return chunk, over

    def _miss(self, count: int) -> None:
        if not count:
            return
        self._since = self._since or time.time_ns()
        self._untold += count
        self.missed += count

    def _lost_chunk(self) -> Chunk | None:
        clock = time.monotonic()
        if not self._untold or clock - self._told_at < LOST_SECONDS:
            return None
        rows = np.zeros(1, STORED)
        rows["type"], rows["subtype"] = LOST, LostSource.FLOW_STORE
        rows["tx_packets"], rows["until"], rows["time"] = self._untold, self._since, time.time_ns()
        self._told_at, self._untold, self._since = clock, 0, 0
        return Chunk.of(rows, -1)


def _take(chunk: Chunk, left: int) -> tuple[Chunk, int]:
    """Cut a chunk after `left` flows; return it with what is still wanted."""
    counted = np.cumsum(chunk.rows["type"] != LOST)
    if not len(counted) or counted[-1] < left:
        return chunk, left - (int(counted[-1]) if len(counted) else 0)
    return chunk.where(slice(int(np.searchsorted(counted, left)) + 1)), 0
