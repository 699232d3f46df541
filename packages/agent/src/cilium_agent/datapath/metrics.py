# SPDX-License-Identifier: Apache-2.0
"""The datapath's packet counters, summed over CPUs. Reading only; the programs write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cilium_agent.datapath import syscall
from cilium_agent.datapath.maps import PinnedMap
from cilium_core.layouts.datapath import MetricsInfo, MetricsKey

_POSSIBLE = Path("/sys/devices/system/cpu/possible")


def possible_cpus(text: str | None = None) -> int:
    """Return how many slots a per-CPU value has: the highest possible CPU number plus one."""
    listed = _POSSIBLE.read_text() if text is None else text
    return int(listed.strip().replace("-", ",").split(",")[-1]) + 1


class Counters:
    """Packets and bytes by reason and direction."""

    def __init__(self, kernel: PinnedMap[MetricsKey, MetricsInfo]) -> None:
        """Read counters from `kernel`, a per-CPU array indexed by the packed key."""
        self.kernel = kernel
        self._cpus = possible_cpus()
        self._entries = kernel.spec.max_entries

    def totals(self) -> Mapping[MetricsKey, MetricsInfo]:
        """Return the sums over CPUs, without reasons that never occurred."""
        size = MetricsInfo.SIZE
        width = size * self._cpus
        keys, values, done, _ = syscall.map_lookup_batch(
            self.kernel.fd, None, MetricsKey.SIZE, MetricsKey.SIZE, width, self._entries
        )
        sums: dict[MetricsKey, MetricsInfo] = {}
        for index in range(done):
            row = values[index * width : (index + 1) * width]
            if row.count(0) == width:
                continue
            slots = [MetricsInfo.unpack(row[at : at + size]) for at in range(0, width, size)]
            key = MetricsKey.unpack(keys[index * MetricsKey.SIZE : (index + 1) * MetricsKey.SIZE])
            sums[key] = MetricsInfo(
                sum(slot.count for slot in slots), sum(slot.bytes for slot in slots)
            )
        return sums
