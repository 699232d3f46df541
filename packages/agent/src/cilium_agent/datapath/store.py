# SPDX-License-Identifier: Apache-2.0
"""All pinned maps of the node, opened together.

What Python owns is a `Table`; what the kernel writes too (LRU maps, counters) is a map, and so
are the policy's tables, of which `policy.KernelPolicy` keeps a form of its own. Opening adopts
the tables, so a restarted agent starts from what the kernel holds.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, TypeVar

import structlog

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.metrics import Counters, LostEvents
from cilium_agent.datapath.tables import Table
from cilium_core.layouts import datapath, events, policy, redirect
from cilium_core.layouts.events import ConfigIndex, ConfigInfo, ConfigKey
from cilium_core.layouts.record import Record
from cilium_core.layouts.sizes import MapSizes
from cilium_core.layouts.spec import MapSpec

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)
_NAMES = frozenset(
    spec.name
    for spec in (
        *datapath.ALL_MAPS,
        policy.PEER_NUMBERS,
        policy.POLICY_NUMBERS,
        redirect.RULE_SET_PORTS,
    )
)
_VERSIONED = re.compile(r"(cilium_\w+_v)\d+")
DEFAULT_DIRECTORY = Path("/sys/fs/bpf/cilium/maps")


class MapStore:
    """The maps under one folder; `close` leaves the pins in place."""

    def __init__(self, directory: Path = DEFAULT_DIRECTORY, sizes: MapSizes | None = None) -> None:
        """Open or create every map and adopt the tables. MapMismatch names a foreign layout.

        `sizes` are those of maps that are created here.
        """
        self.directory = directory
        self._sizes = sizes or MapSizes()
        self.endpoints = Table(self._open(datapath.ENDPOINTS))
        self.ipcache = Table(self._open(datapath.IPCACHE))
        self.tunnels = Table(self._open(datapath.TUNNELS))
        self.services = Table(self._open(datapath.SERVICES))
        self.slots = Table(self._open(datapath.SLOTS))
        self.backends = Table(self._open(datapath.BACKENDS))
        self.config = Table(self._open(events.CONFIG))
        self.reverse = self._open(datapath.REVERSE)
        self.translations = self._open(datapath.TRANSLATIONS)
        self.policy_bits = self._open(policy.BITS)
        self.policy_rows = self._open(policy.ROWS)
        self.policy_lists = self._open(policy.LISTS)
        self.peer_numbers = self._open(policy.PEER_NUMBERS)
        self.policy_numbers = self._open(policy.POLICY_NUMBERS)
        self.connections = self._open(policy.CONNECTIONS)
        self.redirects = Table(self._open(redirect.REDIRECTS))
        self.listeners = self._open(redirect.LISTENERS)
        self.rule_set_ports = self._open(redirect.RULE_SET_PORTS)
        self.fragments = self._open(policy.FRAGMENTS)
        self.events = self._open(events.EVENTS)
        self.metrics = Counters(self._open(datapath.METRICS))
        self.lost_events = LostEvents(self._open(events.EVENT_LOST))
        for table in self._tables():
            table.adopt()
        # CPUs keep what they have read of these until they are told that something was written.
        for kept in (
            self.endpoints.kernel,
            self.ipcache.kernel,
            self.tunnels.kernel,
            self.policy_rows,
        ):
            kept.after_write = self.renew
        self.renew()  # an earlier process may have died between the two

    def renew(self) -> None:
        """Have every CPU read the tables anew; calls that write them do this themselves."""
        generation = ConfigInfo(time.monotonic_ns())
        self.config.kernel.update_many({ConfigIndex(int(ConfigKey.GENERATION)): generation})

    def sized(self) -> dict[str, MapSpec[Any, Any]]:
        """Return the maps whose size may be chosen, by name, as large as they are."""
        held = (self.services, self.slots, self.backends)
        specs = [self.connections.spec, *(table.kernel.spec for table in held)]
        return {spec.name: spec for spec in specs}

    def _open(self, spec: MapSpec[K, V]) -> PinnedMap[K, V]:
        wanted = self._sizes.of(spec)
        opened = PinnedMap.open_or_create(wanted, self.directory)
        if opened.spec.max_entries != wanted.max_entries:
            log.warning(
                "map keeps its size until the node starts anew",
                map=spec.name,
                entries=opened.spec.max_entries,
                asked=wanted.max_entries,
            )
        return opened

    def _tables(self) -> tuple[Table[Any, Any], ...]:
        return (
            self.endpoints,
            self.ipcache,
            self.tunnels,
            self.services,
            self.slots,
            self.backends,
            self.config,
            self.redirects,
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
            self.listeners,
            self.rule_set_ports,
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
