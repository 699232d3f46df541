# SPDX-License-Identifier: Apache-2.0
"""All pinned maps of the node, opened together.

What Python owns is a `Table`; what the kernel writes too (LRU maps, counters) is a map. Opening
adopts the tables, so a restarted agent starts from what the kernel holds.
"""

from __future__ import annotations

from pathlib import Path

from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.metrics import Counters
from cilium_agent.datapath.tables import Table
from cilium_core.layouts import datapath as layouts

DEFAULT_DIRECTORY = Path("/sys/fs/bpf/cilium/maps")


class MapStore:
    """The maps under one folder; `close` leaves the pins in place."""

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        """Open or create every map and adopt the tables. MapMismatch names a foreign layout."""
        self.directory = directory
        self.endpoints = Table(PinnedMap.open_or_create(layouts.ENDPOINTS, directory))
        self.ipcache = Table(PinnedMap.open_or_create(layouts.IPCACHE, directory))
        self.tunnels = Table(PinnedMap.open_or_create(layouts.TUNNELS, directory))
        self.services = Table(PinnedMap.open_or_create(layouts.SERVICES, directory))
        self.slots = Table(PinnedMap.open_or_create(layouts.SLOTS, directory))
        self.backends = Table(PinnedMap.open_or_create(layouts.BACKENDS, directory))
        self.reverse = PinnedMap.open_or_create(layouts.REVERSE, directory)
        self.translations = PinnedMap.open_or_create(layouts.TRANSLATIONS, directory)
        self.metrics = Counters(PinnedMap.open_or_create(layouts.METRICS, directory))
        for table in (
            self.endpoints,
            self.ipcache,
            self.tunnels,
            self.services,
            self.slots,
            self.backends,
        ):
            table.adopt()

    def close(self) -> None:
        """Close all descriptors."""
        for table in (
            self.endpoints,
            self.ipcache,
            self.tunnels,
            self.services,
            self.slots,
            self.backends,
        ):
            table.kernel.close()
        for pinned in (self.reverse, self.translations, self.metrics.kernel):
            pinned.close()
