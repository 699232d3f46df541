# SPDX-License-Identifier: Apache-2.0
"""The datapath's counters, summed over CPUs. Reading only; the programs write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from cilium_agent.datapath import syscall
from cilium_agent.datapath.maps import PinnedMap
from cilium_core.layouts.datapath import MetricsInfo, MetricsKey
from cilium_core.layouts.events import EventLostInfo, EventLostKey, EventType
from cilium_core.layouts.record import Record

_POSSIBLE = Path("/sys/devices/system/cpu/possible")

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)


def possible_cpus(text: str | None = None) -> int:
    """Return how many slots a per-CPU value has: the highest possible CPU number plus one."""
    listed = _POSSIBLE.read_text() if text is None else text
    return int(listed.strip().replace("-", ",").split(",")[-1]) + 1


def _slots(kernel: PinnedMap[K, V], cpus: int) -> Iterator[tuple[K, list[V]]]:
    """Yield the elements of a per-CPU array that are not all zero, one value a CPU."""
    spec = kernel.spec
    size = spec.value.SIZE
    width = size * cpus
    keys, values, done, _ = syscall.map_lookup_batch(
        kernel.fd, None, spec.key.SIZE, spec.key.SIZE, width, spec.max_entries
    )
    for index in range(done):
        row = values[index * width : (index + 1) * width]
        if row.count(0) != width:
            key = spec.key.unpack(keys[index * spec.key.SIZE : (index + 1) * spec.key.SIZE])
            yield key, [spec.value.unpack(row[at : at + size]) for at in range(0, width, size)]


class Counters:
    """Packets and bytes by reason and direction."""

    def __init__(self, kernel: PinnedMap[MetricsKey, MetricsInfo]) -> None:
        """Read counters from `kernel`, a per-CPU array indexed by the packed key."""
        self.kernel = kernel
        self._cpus = possible_cpus()

    def totals(self) -> Mapping[MetricsKey, MetricsInfo]:
        """Return the sums over CPUs, without reasons that never occurred."""
        return {
            key: MetricsInfo(sum(slot.count for slot in slots), sum(slot.bytes for slot in slots))
            for key, slots in _slots(self.kernel, self._cpus)
        }


class LostEvents:
    """Events that found no room in the ring, by type."""

    def __init__(self, kernel: PinnedMap[EventLostKey, EventLostInfo]) -> None:
        """Read counters from `kernel`, a per-CPU array indexed by the type."""
        self.kernel = kernel
        self._cpus = possible_cpus()

    def totals(self) -> Mapping[EventType, int]:
        """Return the sums over CPUs, without types of which none was lost."""
        return {
            EventType(key.type): sum(slot.count for slot in slots)
            for key, slots in _slots(self.kernel, self._cpus)
        }
