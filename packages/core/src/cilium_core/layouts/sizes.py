# SPDX-License-Identifier: Apache-2.0
"""How large the maps are whose size an operator may choose. Pure.

One connection table serves every protocol, and the tables of services are as large as each other,
but for the slots: those have room for four backends a service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from cilium_core.layouts.datapath import BACKENDS, SERVICES, SLOTS
from cilium_core.layouts.policy import CONNECTIONS
from cilium_core.layouts.record import Record
from cilium_core.layouts.spec import MapSpec

SLOTS_PER_SERVICE = 4
K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)


@dataclass(frozen=True, slots=True)
class MapSizes:
    """Entries of the connection table, and of the tables of frontends and of backends."""

    connections: int = CONNECTIONS.max_entries
    services: int = SERVICES.max_entries

    def of(self, spec: MapSpec[K, V]) -> MapSpec[K, V]:
        """Return the map with the size that it is to have."""
        entries = self._chosen().get(spec.name, spec.max_entries)
        return replace(spec, max_entries=entries)

    def _chosen(self) -> dict[str, int]:
        return {
            CONNECTIONS.name: self.connections,
            SERVICES.name: self.services,
            BACKENDS.name: self.services,
            SLOTS.name: self.services * SLOTS_PER_SERVICE,
        }
