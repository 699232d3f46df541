# SPDX-License-Identifier: Apache-2.0
"""One way through the history and the store in order of time, each row once.

Segments are opened when the way reaches their first row, so that few are in memory; the store's
rows are the last source. Event loop only; segments are read in the history's threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.record import LOST
from cilium_hubble.history.database import Meta
from cilium_hubble.history.writer import History
from cilium_hubble.observer.query import Query
from cilium_hubble.observer.view import Past, Source, View

LATEST = (1 << 63) - 1


class Place(NamedTuple):
    """A row's place in the order of all rows."""

    time: int
    order: int
    at: int


class Run(NamedTuple):
    """Rows `start` to `stop - 1` of a source come next."""

    source: Source
    start: int
    stop: int


class Walk:
    """`missed` is told of rows that ought to be there and are not."""

    def __init__(
        self, view: View, history: History | None, metas: list[Meta], missed: Callable[[int], None]
    ) -> None:
        """Walk over some segments and the view."""
        self.view = view
        self.metas = metas
        self._history = history
        self._missed = missed

    async def last(self, query: Query) -> Place | None:
        """Return where the last `number` flows that pass begin; None for the beginning."""
        if query.number >= len(self.view) + sum(meta.rows for meta in self.metas):
            return None
        number = int(query.number)
        found = _Latest(number)
        found.add(self.view, _passing(self.view, query, query.check, number))
        for meta in sorted(self.metas, key=lambda meta: meta.ends, reverse=True):
            if found.full and meta.ends < found.first.time:
                break
            source = await self._open(meta)
            if source is not None:
                found.add(source, _passing(source, query, query.check_of(source.names), number))
        return found.first if found.full else None

    async def runs(self, start: Place | None) -> AsyncGenerator[Run, None]:
        """Yield what comes from a place on."""
        coming = sorted(
            (meta for meta in self.metas if start is None or meta.ends >= start.time),
            key=lambda meta: (meta.begins, meta.id),
            reverse=True,
        )
        self._tell_gaps(coming)
        open_ = [_Cursor(self.view, start)]
        while True:
            open_ = [cursor for cursor in open_ if cursor.at < len(cursor.source.times)]
            horizon = coming[-1].begins if coming else None
            if horizon is None and not open_:
                return
            if horizon is not None and (
                not open_ or horizon <= min(cursor.time for cursor in open_)
            ):
                source = await self._open(coming.pop(), tell=True)
                if source is not None:
                    open_.append(_Cursor(source, start))
                continue
            for run in _merged(open_, horizon):
                yield run

    async def _open(self, meta: Meta, *, tell: bool = False) -> Past | None:
        assert self._history is not None
        segment = await self._history.load(meta)
        if segment is None:
            self._missed(meta.rows if tell else 0)
            return None
        below = self.view.start if meta.head == self._history.head else None
        return Past(segment, meta.id, below)

    def _tell_gaps(self, metas: Iterable[Meta]) -> None:
        """Count rows of a run that were not written between two segments."""
        before: Meta | None = None
        for meta in sorted(metas):
            if before is not None and (before.head, before.id + 1) == (meta.head, meta.id):
                self._missed(meta.first - before.first - before.rows)
            before = meta


def last_of(view: View, query: Query) -> Place | None:
    """Return where the last `number` flows of the store that pass begin; None if there are less."""
    if query.number > len(view):
        return None
    found = _Latest(int(query.number))
    found.add(view, _passing(view, query, query.check, int(query.number)))
    return found.first if found.full else None


class _Cursor:
    def __init__(self, source: Source, start: Place | None) -> None:
        self.source = source
        self.at = 0
        if start is not None:
            if source.order == start.order:
                self.at = start.at
            else:
                side = "right" if source.order < start.order else "left"
                self.at = int(np.searchsorted(source.times, start.time, side))  # type: ignore[call-overload]

    @property
    def time(self) -> int:
        return int(self.source.times[self.at])


class _Latest:
    """The latest `number` places of those that were added."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._places: NDArray[np.int64] = np.zeros((0, 3), "i8")

    @property
    def full(self) -> bool:
        return len(self._places) >= self._number

    @property
    def first(self) -> Place:
        time, order, index = self._places[0].tolist()
        return Place(time, order, index)

    def add(self, source: Source, indices: NDArray[np.int64]) -> None:
        orders = np.full(len(indices), source.order)
        new = np.column_stack([source.times[indices], orders, indices])
        places = np.concatenate([self._places, new])
        order = np.lexsort((places[:, 2], places[:, 1], places[:, 0]))
        self._places = places[order[-self._number :]]


_STRETCH = 4096


def _passing(
    source: Source, query: Query, check: Callable[..., NDArray[np.bool_]], number: int
) -> NDArray[np.int64]:
    """Return the indices of the last flows of a source that pass, `number` at most or some more."""
    found: list[NDArray[np.int64]] = []
    stop = len(source.times)
    if query.until is not None:
        stop = int(np.searchsorted(source.times, query.until, "right"))
    while stop > 0 and number > 0:
        start = max(0, stop - _STRETCH)
        chunk, missing = source.chunk(start, stop)
        places = np.flatnonzero(check(chunk) & (chunk.rows["type"] != LOST)) + start + missing
        found.append(places)
        number -= len(places)
        stop = start
    return np.concatenate(found[::-1]) if found else np.zeros(0, "i8")


def _merged(cursors: list[_Cursor], horizon: int | None) -> Iterable[Run]:
    """Move cursors to the first row at or after a time; yield what they pass, in order."""
    spans = []
    for cursor in cursors:
        times = cursor.source.times
        stop = len(times) if horizon is None else int(np.searchsorted(times, horizon, "left"))
        if stop > cursor.at:
            spans.append(Run(cursor.source, cursor.at, stop))
            cursor.at = stop
    if len(spans) == 1:
        yield spans[0]
        return
    spans.sort(key=lambda run: run.source.order)
    times = np.concatenate([run.source.times[run.start : run.stop] for run in spans])
    owners = np.repeat(np.arange(len(spans)), [run.stop - run.start for run in spans])
    owners = owners[np.argsort(times, kind="stable")]
    ends = np.flatnonzero(np.diff(owners, append=-1)) + 1
    at = [run.start for run in spans]
    begin = 0
    for end in ends.tolist():
        owner = int(owners[begin])
        start, at[owner] = at[owner], at[owner] + end - begin
        yield Run(spans[owner].source, start, at[owner])
        begin = end
