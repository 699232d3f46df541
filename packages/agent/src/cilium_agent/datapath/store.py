# SPDX-License-Identifier: Apache-2.0
"""All pinned maps of the node, opened together.

What Python owns is a `Table`; what the kernel writes too (LRU maps, counters) is a map, and so
are the policy's tables, of which `policy.KernelPolicy` keeps a form of its own. Opening adopts
the tables, so a restarted agent starts from what the kernel holds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import structlog

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.metrics import Counters, LostEvents
from cilium_agent.datapath.tables import Table
from cilium_core.layouts import datapath, events, policy

log = structlog.get_logger(__name__)

_NAMES = frozenset(
    spec.name for spec in (*datapath.ALL_MAPS, policy.PEER_NUMBERS, policy.POLICY_NUMBERS)
)
_VERSIONED = re.compile(r"(cilium_\w+_v)\d+")
DEFAULT_DIRECTORY = Path("/sys/fs/bpf/cilium/maps")


class MapStore:
    """The maps under one folder; `close` leaves the pins in place."""

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        """Open or create every map and adopt the tables. MapMismatch names a foreign layout."""
        self.directory = directory
        self.endpoints = Table(PinnedMap.open_or_create(datapath.ENDPOINTS, directory))
        self.ipcache = Table(PinnedMap.open_or_create(datapath.IPCACHE, directory))
        self.tunnels = Table(PinnedMap.open_or_create(datapath.TUNNELS, directory))
        self.services = Table(PinnedMap.open_or_create(datapath.SERVICES, directory))
        self.slots = Table(PinnedMap.open_or_create(datapath.SLOTS, directory))
        self.backends = Table(PinnedMap.open_or_create(datapath.BACKENDS, directory))
        self.config = Table(PinnedMap.open_or_create(events.CONFIG, directory))
        self.reverse = PinnedMap.open_or_create(datapath.REVERSE, directory)
        self.translations = PinnedMap.open_or_create(datapath.TRANSLATIONS, directory)
        self.policy_bits = PinnedMap.open_or_create(policy.BITS, directory)
        self.policy_rows = PinnedMap.open_or_create(policy.ROWS, directory)
        self.policy_lists = PinnedMap.open_or_create(policy.LISTS, directory)
        self.peer_numbers = PinnedMap.open_or_create(policy.PEER_NUMBERS, directory)
        self.policy_numbers = PinnedMap.open_or_create(policy.POLICY_NUMBERS, directory)
        self.connections = PinnedMap.open_or_create(policy.CONNECTIONS, directory)
        self.fragments = PinnedMap.open_or_create(policy.FRAGMENTS, directory)
        self.events = PinnedMap.open_or_create(events.EVENTS, directory)
        self.metrics = Counters(PinnedMap.open_or_create(datapath.METRICS, directory))
        self.lost_events = LostEvents(PinnedMap.open_or_create(events.EVENT_LOST, directory))
        for table in self._tables():
            table.adopt()

    def _tables(self) -> tuple[Table[Any, Any], ...]:
        return (
            self.endpoints,
            self.ipcache,
            self.tunnels,
            self.services,
            self.slots,
            self.backends,
            self.config,
        )

    def close(self) -> None:
        """Close all descriptors."""
        for table in self._tables():
            table.kernel.close()
        for pinned in (
            self.reverse,
            self.translations,
            self.policy_bits,
            self.policy_rows,
            self.policy_lists,
            self.peer_numbers,
            self.policy_numbers,
            self.connections,
            self.fragments,
            self.events,
            self.metrics.kernel,
            self.lost_events.kernel,
        ):
            pinned.close()


def remove_other_layouts(directory: Path) -> list[str]:
    """Unpin our maps of other layout versions and return their names.

    For when programs of this version are in force on every hook: then nobody writes the others
    any more, and what they hold would be taken for true if their version came back. A program that
    still has such a map keeps it alive without the pin.
    """
    ours = {name.rstrip("0123456789") for name in _NAMES}
    removed = []
    for pin in sorted(directory.iterdir()) if directory.is_dir() else []:
        found = _VERSIONED.fullmatch(pin.name)
        if found and found[1] in ours and pin.name not in _NAMES:
            pin.unlink()
            removed.append(pin.name)
    if removed:
        log.info("maps of other layouts unpinned", maps=removed)
    return removed
