# SPDX-License-Identifier: Apache-2.0
"""Walks store and history for one query: what passes, what a slow follower has missed.

What there is at the start is walked in order of time, what comes later as it comes: proxies'
records come later than they were made. Rows are read in stretches; between two the event loop
turns, so that ingest goes on. The rows of one stretch are used up before the caller gives the loop
back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.chunk import Chunk, Names
from cilium_hubble.flows.record import LOST, STORED, LostSource
from cilium_hubble.flows.store import Store
from cilium_hubble.history.writer import History
from cilium_hubble.observer.query import Query
from cilium_hubble.observer.view import View
from cilium_hubble.observer.walk import LATEST, Place, Walk, last_of

STRETCH = 256
LOST_SECONDS = 1.0  # a slow follower hears of what it missed once a second


class Part(NamedTuple):
    """Rows, and the names that their numbers mean."""

    chunk: Chunk
    names: Names


class Reader:
    """One query's way through the store. `missed` counts rows that were gone before it came.

    `complete_to` is the time (ns) up to which what the store will ever get has been passed by.
    """

    def __init__(
        self,
        store: Store,
        names: Names,
        query: Query,
        clock: Callable[[], int],
        quiet: float | None = None,
        history: History | None = None,
    ) -> None:
        """Nothing is read yet. `clock` tells up to which time the store is complete.

        With `quiet` (s) a follower that nothing passes for so long gets an empty chunk.
        """
        self._store = store
        self._names = names
        self._history = history if query.past else None
        self._query = query
        self._clock = clock
        self._quiet = quiet
        self.complete_to = 0
        self._told_at = 0.0
        self._untold = 0
        self._since = 0
        self.missed = 0

    async def chunks(self) -> AsyncGenerator[Part, None]:
        """Yield stretches of the rows that pass, oldest first, lost ones among them."""
        store, query = self._store, self._query
        if query.follow and not query.number and query.since is None and not query.first:
            async for part in self._following(store.next_sequence):
                yield part
            return
        walk = await self._walk()
        counted = bool(query.number) and not query.follow
        start = await walk.last(query) if query.backwards else None
        left, known, check = query.number, self._names, query.check
        async with aclosing(self._past(walk, start)) as parts:
            async for found, names in parts:
                if names is not known:
                    known = names
                    check = query.check if names is self._names else query.check_of(names)
                chunk, over = self._cut(found)
                passed = chunk.where(check(chunk))
                if counted:
                    passed, left = _take(passed, left)
                if (lost := self._lost_chunk()) is not None:
                    yield Part(lost, self._names)
                if len(passed):
                    yield Part(passed, names)
                if over or (counted and not left):
                    return
        if query.follow:
            async for part in self._after(walk.view.end):
                yield part

    async def _past(self, walk: Walk, start: Place | None) -> AsyncGenerator[Part, None]:
        """Yield all that there is from a place on, in order of time."""
        async with aclosing(walk.runs(start)) as runs:
            async for source, begin, end in runs:
                for at in range(begin, end, STRETCH):
                    stop = min(at + STRETCH, end)
                    chunk, missed = source.chunk(at, stop)
                    now = source is walk.view and stop == len(walk.view)
                    self._passed(
                        chunk, caught_up=now and walk.view.end == self._store.next_sequence
                    )
                    if missed:  # they gave way while older ones were read
                        for part in await self._again(walk.view.sequences(at, stop)):
                            yield part
                    else:
                        yield Part(chunk, source.names)
                    await asyncio.sleep(0)

    async def _after(self, position: int) -> AsyncGenerator[Part, None]:
        """Yield what comes from row `position` on, for ever; first what gave way meanwhile."""
        store, query = self._store, self._query
        while self._history is not None and position < store.oldest:
            stop = min(position + STRETCH, store.oldest)
            for chunk, names in await self._again(np.arange(position, stop)):
                yield Part(chunk.where(query.check_of(names)(chunk)), names)
            position = stop
        async for part in self._following(position):
            yield part

    async def _again(self, sequences: NDArray[np.int64]) -> list[Part]:
        """Return rows that gave way, out of the history, and those that are still held after them.

        What is in neither counts as missed.
        """
        history, store = self._history, self._store
        kept = await history.rows(sequences[sequences < store.oldest]) if history else []
        found = [Part(Chunk(rows, numbers), names) for rows, numbers, names in kept]
        have = {number for chunk, _ in found for number in chunk.sequences.tolist()}
        held = np.array(
            [n for n in sequences.tolist() if n >= store.oldest and n not in have], "i8"
        )
        if len(held):
            found.append(Part(Chunk(store.gather(held), held), self._names))
        self._miss(len(sequences) - len(have) - len(held))
        return _in_order(found)

    async def _walk(self) -> Walk:
        """Return the way through what there is now.

        The seam is the first row that the store shows: older rows are the history's, written or
        waited for.
        """
        store, query, history = self._store, self._query, self._history
        if history is None:
            view = View(store, self._names, store.first_shown, store.next_sequence)
            return Walk(view, None, [], self._miss)
        if history.written < store.first_shown:
            await history.settle()
        seam = max(store.oldest, min(store.first_shown, history.written))
        self._miss(max(0, seam - history.written))
        view = View(store, self._names, seam, store.next_sequence)
        since = query.since or 0
        if query.backwards and (place := last_of(view, query)) is not None:
            since = place.time + 1  # of what is older only what is in fact newer
        until = LATEST if query.until is None else query.until
        metas = await history.metas(since, until, seam)
        return Walk(view, history, metas, self._miss)

    async def _following(self, position: int) -> AsyncGenerator[Part, None]:
        """Yield what comes from row `position` on, for ever."""
        store, query = self._store, self._query
        told = time.monotonic()
        while True:
            if self._quiet is not None:
                await store.wait_until(position, told + self._quiet - time.monotonic())
                if position == store.next_sequence:
                    self.complete_to, told = self._clock(), time.monotonic()
                    empty = Chunk.of(store.read(position, position), position)
                    yield Part(empty, self._names)
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
                yield Part(lost, self._names)
            if len(passed) or self._tell_quiet(told):
                told = time.monotonic()
                yield Part(passed, self._names)
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


def _in_order(parts: list[Part]) -> list[Part]:
    """Return the rows of some parts in order of time, in as few parts as their names allow."""
    if not parts:
        return []
    times = np.concatenate([part.chunk.rows["time"] for part in parts])
    owners = np.repeat(np.arange(len(parts)), [len(part.chunk) for part in parts])
    rows = np.concatenate([np.arange(len(part.chunk)) for part in parts])
    order = np.argsort(times, kind="stable")
    owners, rows = owners[order], rows[order]
    ends = np.flatnonzero(np.diff(owners, append=-1)) + 1
    found, begin = [], 0
    for end in ends.tolist():
        chunk, names = parts[int(owners[begin])]
        found.append(
            Part(Chunk(chunk.rows[rows[begin:end]], chunk.sequences[rows[begin:end]]), names)
        )
        begin = end
    return found
