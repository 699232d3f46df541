# SPDX-License-Identifier: Apache-2.0
"""How a pinned map is declared: name, kind, layouts, size. A layout's change is a new name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from cilium_core.layouts.record import Record, record


class MapKind(IntEnum):
    """`enum bpf_map_type` numbers that this project uses."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    SOCKHASH = 18
    RINGBUF = 27


@record("nothing")
class NoKey(Record):
    """The key of a map that has none: a ring."""


K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)

NO_PREALLOC = 1  # BPF_F_NO_PREALLOC


@dataclass(frozen=True)
class MapSpec(Generic[K, V]):
    """One pinned map: its name under the maps folder, kind, layouts and size in entries.

    Of a ring, `value` is the record that it carries and the size is in bytes. A `sizable` map may
    have another size in the kernel than is declared or asked for (`layouts.sizes`).
    """

    name: str
    kind: MapKind
    key: type[K]
    value: type[V]
    max_entries: int
    sizable: bool = False

    @property
    def flags(self) -> int:
        """Creation flags: tables that Python fills take memory as they grow."""
        return NO_PREALLOC if self.kind in (MapKind.HASH, MapKind.LPM_TRIE) else 0

    @property
    def key_size(self) -> int:
        """Bytes of a key as the kernel is told, 0 for a ring."""
        return 0 if self.kind is MapKind.RINGBUF else self.key.SIZE

    @property
    def value_size(self) -> int:
        """Bytes of a value (of one CPU) as the kernel is told, 0 for a ring."""
        return 0 if self.kind is MapKind.RINGBUF else self.value.SIZE
