# SPDX-License-Identifier: Apache-2.0
"""The kernel's policy tables as the engine knows them: read back at start, written step by step.

Steps come as differences, so no second copy of the bytes is kept: `tables` is what the kernel
holds, in the engine's own values. One owner, on the event loop's thread; calls are synchronous,
some microseconds a row.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from cilium_agent.datapath.errors import KernelError, TableFull
from cilium_agent.datapath.lists import OverflowLists
from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.rows import kernel_key, kernel_row, key_of, overflow, row_of
from cilium_agent.datapath.store import MapStore
from cilium_core.layouts.policy import BitsInfo, BitsKey, RowInfo
from cilium_core.policy.tables import Row, RowKey, Step, Tables

_FULL = (errno.E2BIG, errno.ENOSPC, errno.ENOMEM)
_BATCH = 4096

K = TypeVar("K")
V = TypeVar("V")


class KernelPolicy:
    """Writes steps, in their order, and knows what the tables hold."""

    def __init__(self, store: MapStore, clock: Callable[[], float] = time.monotonic) -> None:
        """Adopt what the store's policy maps hold."""
        self._rows = store.policy_rows
        self._bits = store.policy_bits
        self._lists = OverflowLists(store.policy_lists, clock)
        self._list_of: dict[RowKey, int] = {}  # of the rows that have one
        self.tables = Tables()
        self.adopt()

    def adopt(self) -> Tables:
        """Read the kernel's tables anew (start, repair) and return them."""
        raw = {key_of(key): info for key, info in self._rows.items()}
        self._list_of = {key: info.list_id for key, info in raw.items() if info.list_id}
        self._lists.adopt(self._list_of.values())
        lists = self._lists.cells
        bits = {
            (identity, word): held
            for _, values in self._bits.batches()
            for identity, word, held in BitsInfo.unpack_rows(values)
        }
        self.tables = Tables({key: row_of(info, lists) for key, info in raw.items()}, bits)
        return self.tables

    def apply(self, steps: Iterable[Step]) -> int:
        """Write the steps in order; what the kernel holds already is skipped.

        Returns how many entries were written or removed. TableFull or KernelError after a part
        of them: `tables` then is what that part made, and the rest may be tried again. RowTooWide
        before anything of its step.
        """
        written = 0
        try:
            for step in steps:
                written += self._apply_rows(step.rows)
                written += self._apply_bits(step.bits)
        except KernelError as error:
            self.adopt()
            if error.errno in _FULL:
                raise TableFull(f"a policy table is full: {error}; {self._usage()}") from error
            raise
        self._lists.collect()
        return written

    def collect(self) -> int:
        """Free overflow lists whose quarantine is over; return how many still wait."""
        return self._lists.collect()

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return entries in use and room of each table, by map name."""
        used = (
            (self._rows, len(self.tables.rows)),
            (self._bits, len(self.tables.bits)),
            (self._lists.kernel, sum(map(len, self._lists.cells.values()))),
        )
        return {kernel.spec.name: (count, kernel.spec.max_entries) for kernel, count in used}

    def _usage(self) -> str:
        sizes = self.sizes().items()
        return ", ".join(f"{name} has {used} of {room}" for name, (used, room) in sizes)

    def _apply_rows(self, wanted: Mapping[RowKey, Row | None]) -> int:
        changed = {key: row for key, row in wanted.items() if self.tables.rows.get(key) != row}
        for row in changed.values():
            if row is not None:
                overflow(row)
        for part in _runs(changed):
            released = [self._list_of.pop(key) for key in part if key in self._list_of]
            if next(iter(part.values())) is None:
                self._rows.delete_many(map(kernel_key, part))
                for key in part:
                    del self.tables.rows[key]
            else:
                self._write_rows({key: row for key, row in part.items() if row is not None})
            for number in released:
                self._lists.give_back(number)
        return len(changed)

    def _write_rows(self, rows: Mapping[RowKey, Row]) -> None:
        made: dict[RowKey, RowInfo] = {}
        for key, row in rows.items():
            number = self._lists.take(overflow(row))
            if number:
                self._list_of[key] = number
            made[key] = kernel_row(key, row, number)
        self._rows.update_many({kernel_key(key): info for key, info in made.items()})
        self.tables.rows.update(rows)

    def _apply_bits(self, wanted: Mapping[tuple[int, int], int | None]) -> int:
        held = self.tables.bits
        changed = {key: bits for key, bits in wanted.items() if held.get(key) != bits}
        for part in _runs(changed):
            if next(iter(part.values())) is None:
                self._bits.delete_many(BitsKey(*key) for key in part)
                for key in part:
                    del held[key]
            else:
                _write_bits(self._bits, part)
                held.update((key, bits) for key, bits in part.items() if bits is not None)
        return len(changed)


def _write_bits(
    kernel: PinnedMap[BitsKey, BitsInfo], wanted: Mapping[tuple[int, int], int | None]
) -> None:
    items = list(wanted.items())
    for start in range(0, len(items), _BATCH):
        part = items[start : start + _BATCH]
        keys = BitsKey.pack_rows(key for key, _ in part)
        kernel.update_raw(keys, BitsInfo.pack_rows((*key, bits) for key, bits in part))


def _runs(wanted: Mapping[K, V | None]) -> Iterator[dict[K, V | None]]:
    """Split into stretches of writes and of removals, keeping the order."""
    for _, run in itertools.groupby(wanted.items(), key=lambda item: item[1] is None):
        yield dict(run)
