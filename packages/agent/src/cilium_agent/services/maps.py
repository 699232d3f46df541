# SPDX-License-Identifier: Apache-2.0
"""The three load-balancing maps written in an order that leaves no hole, full or not.

Backends, slots, services; removals the other way round: a client finds either the old or the new
state of a service, never a slot without its backend. One owner, on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from cilium_agent.services.desired import Frontend
from cilium_agent.services.tables import Rows
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)
from cilium_core.layouts.record import Record

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)


class TableOf(Protocol[K, V]):
    """The part of the datapath's table that is used."""

    @property
    def current(self) -> Mapping[K, V]: ...

    def upsert(self, rows: Mapping[K, V]) -> object: ...

    def delete(self, keys: Iterable[K]) -> object: ...


class Growth(NamedTuple):
    """How many rows more each map is to hold."""

    backends: int
    slots: int
    services: int

    def needs_all_of(self, other: Growth) -> bool:
        """Tell whether there is no room for this when there is none for `other`."""
        return all(mine >= theirs for mine, theirs in zip(self, other, strict=True))


class ServiceMaps:
    """Writes rows of frontends; `failed` of a write says which did not fit, and why."""

    def __init__(
        self,
        services: TableOf[ServiceKey, ServiceInfo],
        slots: TableOf[SlotKey, SlotInfo],
        backends: TableOf[BackendKey, BackendInfo],
    ) -> None:
        """Write to these tables."""
        self.services = services
        self.slots = slots
        self.backends = backends

    def write(
        self, fresh: Mapping[Frontend, Rows], waiting: Mapping[Frontend, Rows]
    ) -> dict[Frontend, Exception]:
        """Write what fits and return what failed. `waiting` are those that failed before.

        All fresh ones go together. When that fails each goes alone, and each that waits too,
        those that need least room first, so that one full map stops no more than it must.
        """
        together = Rows()
        for rows in fresh.values():
            together.add(rows)
        try:
            self._upsert(together)
        except Exception:
            return self._each({**waiting, **fresh})
        return self._each(waiting)

    def delete(
        self,
        services: Iterable[ServiceKey],
        slots: Iterable[SlotKey],
        backends: Iterable[BackendKey],
    ) -> None:
        """Remove rows; unknown keys are ignored."""
        self.services.delete(services)
        self.slots.delete(slots)
        self.backends.delete(backends)

    def keep(self, rows: Rows) -> None:
        """Remove all other rows; a scan of the tables."""
        self.delete(
            [key for key in self.services.current if key not in rows.services],
            [key for key in self.slots.current if key not in rows.slots],
            [key for key in self.backends.current if key not in rows.backends],
        )

    def _each(self, rows: Mapping[Frontend, Rows]) -> dict[Frontend, Exception]:
        growth = {frontend: self._growth(one) for frontend, one in rows.items()}
        failed: dict[Frontend, Exception] = {}
        misfits: list[tuple[Growth, Exception]] = []
        for frontend in sorted(rows, key=lambda one: sum(growth[one])):
            need = growth[frontend]
            error = next((e for other, e in misfits if need.needs_all_of(other)), None)
            if error is None:
                try:
                    self._upsert(rows[frontend])
                    continue
                except Exception as raised:
                    error = raised
                    misfits.append((need, error))
            failed[frontend] = error
        return failed

    def _growth(self, rows: Rows) -> Growth:
        return Growth(
            sum(key not in self.backends.current for key in rows.backends),
            sum(key not in self.slots.current for key in rows.slots),
            sum(key not in self.services.current for key in rows.services),
        )

    def _upsert(self, rows: Rows) -> None:
        self.backends.upsert(rows.backends)
        self.slots.upsert(rows.slots)
        self.services.upsert(rows.services)
