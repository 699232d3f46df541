# SPDX-License-Identifier: Apache-2.0
"""Takes rows out of the store before they give way, and has a thread write them.

Ingest knows nothing of it: a task looks at the store ten times a second. What waits for a slow disk
is bounded; rows that find no room, or whose writing failed, are counted, and a query over the gap
tells of them. Queries read in threads of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.store import Store
from cilium_hubble.history.database import Database, Meta, Total
from cilium_hubble.history.packing import Captured, Segment, Unreadable, capture, pack, unpack

log = structlog.get_logger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 0.1
WRITE_SECONDS = 2.0  # the longest that few rows wait to be written
SEGMENT = 4096  # rows
TRANSACTION = 16  # segments
WAITING = 1 << 18  # rows that may wait for the disk (35 MB)
PRUNE_SECONDS = 30.0
WARN_SECONDS = 10.0
_KEPT = 8  # segments unpacked last: a query for the last flows looks at them twice
_NANO = 1_000_000_000

OVERWRITTEN, WAITED, FAILED = "overwritten", "queue_full", "write_failed"


class Limits(NamedTuple):
    """Budgets of the file: bytes and seconds."""

    max_bytes: int
    max_age: float


class History:
    """The past of one store. `dropped` counts rows by why they were not written."""

    def __init__(self, path: Path, store: Store, names: Names, limits: Limits) -> None:
        """Take the store's rows from now on; `start` opens the file."""
        self._path = path
        self._store = store
        self._names = names
        self._limits = limits
        self._taken = store.next_sequence  # rows before it are written, waiting or dropped
        self._looked = time.monotonic()
        self._waiting: deque[Captured] = deque()
        self._rows_waiting = 0
        self._written = store.next_sequence  # rows before it are in the file or dropped
        self._progress = asyncio.Event()
        self._work = asyncio.Event()
        self._database: Database | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="history-read")
        self._unpacked: OrderedDict[int, Segment] = OrderedDict()
        self._told = -WARN_SECONDS
        self.dropped: Counter[str] = Counter({OVERWRITTEN: 0, WAITED: 0, FAILED: 0})
        self.total = Total(0, 0)

    @property
    def written(self) -> int:
        """Rows before this one are in the file, or counted as dropped."""
        return self._written

    @property
    def head(self) -> int:
        """What names this run in the file."""
        return self._names.ids.head

    async def start(self) -> None:
        """Open the file. OSError when it cannot be made."""
        self._database = await self._in(
            self._writer, lambda: Database(self._path, self._limits.max_bytes)
        )
        await self._prune()

    async def run(self) -> None:
        """Take and write until cancelled; what was taken by then is written by `close`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._looking())
            tasks.create_task(self._writing())

    async def close(self) -> None:
        """Write the rest and close the file."""
        self._take()
        while self._waiting:
            await self._write()
        if self._database is not None:
            await self._in(self._writer, self._database.close)
            self._database = None
        self._writer.shutdown()
        self._readers.shutdown()

    async def settle(self) -> None:
        """Return when every row that the store has now is in the file or dropped."""
        self._take()
        end = self._taken
        while self._written < end:
            await self._progress.wait()

    async def metas(self, since: int, until: int, below: int) -> list[Meta]:
        """Return the segments that touch a span of time (ns), of this run those before a row."""
        return await self._found(lambda: self._open().metas(since, until, self.head, below))

    async def rows(self, sequences: NDArray[np.int64]) -> list[Segment]:
        """Return rows of this run that the store does not hold any more, as far as they are kept.

        They come in the order of `sequences`, in stretches that share their names.
        """
        if not len(sequences):
            return []
        first, last = int(sequences.min()), int(sequences.max())
        if self._written <= last:
            await self.settle()
        metas = await self._found(lambda: self._open().holding(self.head, first, last))
        segments = [segment for meta in metas if (segment := await self.load(meta)) is not None]
        places = {
            number: (owner, place)
            for owner, segment in enumerate(segments)
            for place, number in enumerate(segment.sequences.tolist())
            if first <= number <= last
        }
        found = [places[number] for number in sequences.tolist() if number in places]
        pieces = []
        for owner, group in groupby(found, key=itemgetter(0)):
            index = np.array([place for _, place in group])
            segment = segments[owner]
            pieces.append(Segment(segment.rows[index], segment.sequences[index], segment.names))
        return pieces

    async def _found(self, ask: Callable[[], list[Meta]]) -> list[Meta]:
        try:
            return await self._in(self._readers, ask)
        except OSError as error:
            self._warn("the flow history cannot be read", reason=str(error))
            return []

    async def load(self, meta: Meta) -> Segment | None:
        """Return a segment; None when it made way, or cannot be read."""
        held = self._unpacked.get(meta.id)
        if held is not None:
            return held
        try:
            found = await self._in(self._readers, lambda: self._load(meta.id))
        except (OSError, Unreadable) as error:
            self._warn("a part of the flow history cannot be read", reason=str(error))
            return None
        if found is not None:
            self._unpacked[meta.id] = found
            while len(self._unpacked) > _KEPT:
                self._unpacked.popitem(last=False)
        return found

    def _load(self, number: int) -> Segment | None:
        raw = self._open().packed(number)
        return unpack(raw) if raw is not None else None

    def _open(self) -> Database:
        if self._database is None:
            raise OSError("the flow history is closed")
        return self._database

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            new = self._store.next_sequence - self._taken
            late = time.monotonic() - self._looked >= WRITE_SECONDS
            if new >= SEGMENT or (new and late):
                self._take()

    def _take(self) -> None:
        """Move all rows of the store that were not taken yet to those that wait."""
        store, end = self._store, self._store.next_sequence
        self._looked = time.monotonic()
        if (gone := max(0, store.oldest - self._taken)) > 0:
            self._drop(OVERWRITTEN, gone)
            self._taken = store.oldest
        while self._taken < end:
            stop = min(end, self._taken + SEGMENT)
            if self._rows_waiting >= WAITING:
                self._drop(WAITED, end - self._taken)
                self._taken = end
                break
            rows = store.read(self._taken, stop)
            self._waiting.append(capture(rows, self._taken, self._names))
            self._rows_waiting += len(rows)
            self._taken = stop
        if self._waiting:
            self._work.set()
        else:
            self._note()

    async def _writing(self) -> None:
        pruned = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(PRUNE_SECONDS):
                    await self._work.wait()
            except TimeoutError:
                pass
            self._work.clear()
            while self._waiting:
                await self._write()
            if time.monotonic() - pruned >= PRUNE_SECONDS:
                await self._prune()
                pruned = time.monotonic()

    async def _write(self) -> None:
        some = [self._waiting[index] for index in range(min(TRANSACTION, len(self._waiting)))]
        rows = sum(len(one.rows) for one in some)
        adding = asyncio.ensure_future(self._in(self._writer, lambda: self._add(some)))
        try:
            self.total = await asyncio.shield(adding)
        except asyncio.CancelledError:
            await asyncio.wait([adding])  # it writes all the same: not again by `close`
            raise
        except OSError as error:
            self._drop(FAILED, rows)
            self._warn("flows are not kept in the history", reason=str(error), flows=rows)
        finally:
            for _ in some:
                self._waiting.popleft()
            self._rows_waiting -= rows
            self._note()

    def _add(self, segments: list[Captured]) -> Total:
        database = self._open()
        database.add([_row(one) for one in segments])
        return database.total()

    async def _prune(self) -> None:
        oldest = time.time_ns() - int(self._limits.max_age * _NANO)

        def prune() -> Total:
            database = self._open()
            database.prune(oldest)
            return database.total()

        try:
            self.total = await self._in(self._writer, prune)
        except OSError as error:
            self._warn("the flow history cannot be tidied", reason=str(error))

    def _note(self) -> None:
        waiting = self._waiting[0].first if self._waiting else self._taken
        self._written = waiting
        self._progress.set()
        self._progress = asyncio.Event()

    def _drop(self, why: str, rows: int) -> None:
        self.dropped[why] += rows
        if why != FAILED:
            self._warn("flows are not kept in the history", reason=why, flows=rows)

    def _warn(self, words: str, **about: Any) -> None:
        if time.monotonic() - self._told >= WARN_SECONDS:
            self._told = time.monotonic()
            log.warning(words, file=str(self._path), dropped_ever=self.dropped.total(), **about)

    async def _in(self, threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, function)


def _row(captured: Captured) -> dict[str, Any]:
    packed, times = pack(captured), captured.rows["time"]
    return {
        "head": captured.head,
        "first": captured.first,
        "rows": len(times),
        "flows": captured.flows,
        "begins": int(times.min()),
        "ends": int(times.max()),
        "size": len(packed),
        "packed": packed,
    }
