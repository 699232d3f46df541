# SPDX-License-Identifier: Apache-2.0
"""All pinned maps of the node, opened together.

What Python owns is a `Table`; what the kernel writes too (LRU maps, counters) is a map, and so
are the policy's tables, of which `policy.KernelPolicy` keeps a form of its own. Opening adopts
the tables, so a restarted agent starts from what the kernel holds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.metrics import Counters, LostEvents
from cilium_agent.datapath.tables import Table
from cilium_core.layouts import datapath, events, policy
from cilium_core.layouts.events import ConfigIndex, ConfigInfo, ConfigKey

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
