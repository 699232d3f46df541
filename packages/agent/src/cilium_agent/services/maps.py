# SPDX-License-Identifier: Apache-2.0
"""The three load-balancing maps written in an order that leaves no hole, full or not.

Backends, slots, services; removals the other way round: a client finds either the old or the new
state of a service, never a slot without its backend; what does not fit is taken back, so that it
takes no room from what does. One owner, on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from cilium_agent.services.desired import Frontend
from cilium_agent.services.tables import Rows, service_key
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
    """Writes frontends' rows, each frontend's wholly or not at all."""

    def __init__(
        self,
        services: TableOf[ServiceKey, ServiceInfo],
        slots: TableOf[SlotKey, SlotInfo],
        backends: TableOf[BackendKey, BackendInfo],
    ) -> None:
        """Write to these tables. `unclean` is set when rows that nobody has may be left."""
        self.services = services
        self.slots = slots
        self.backends = backends
        self.unclean = False

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
            self._put(together)
        except Exception:
            return self._each({**waiting, **fresh})
        return self._each(waiting)

    def held(self, frontend: Frontend) -> Rows:
        """Return the rows that clients of the frontend are led by now."""
        rows = Rows()
        key = service_key(frontend)
        info = self.services.current.get(key)
        if info is None:
            return rows
        rows.services[key] = info
        for number in range(info.count):
            slot_key = SlotKey(info.service_id, number)
            slot = self.slots.current.get(slot_key)
            backend = self.backends.current.get(BackendKey(slot.backend_id)) if slot else None
            if slot is not None and backend is not None:
                rows.slots[slot_key] = slot
                rows.backends[BackendKey(slot.backend_id)] = backend
        return rows

    def delete(
        self,
        services: Iterable[ServiceKey],
        slots: Iterable[SlotKey],
        backends: Iterable[BackendKey],
    ) -> None:
        """Remove rows; unknown keys are ignored."""
        self.unclean = True
        self.services.delete(services)
        self.slots.delete(slots)
        self.backends.delete(backends)
        self.unclean = False

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
                    self._put(rows[frontend])
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

    def _put(self, rows: Rows) -> None:
        before = Rows(
            _present(self.services, rows.services),
            _present(self.slots, rows.slots),
            _present(self.backends, rows.backends),
        )
        try:
            self.backends.upsert(rows.backends)
            self.slots.upsert(rows.slots)
            self.services.upsert(rows.services)
        except Exception:
            self._undo(rows, before)
            raise

    def _undo(self, rows: Rows, before: Rows) -> None:
        """Put back what was there; a row that is there already needs no room."""
        unclean, self.unclean = self.unclean, True
        self.services.upsert(before.services)
        self.services.delete([key for key in rows.services if key not in before.services])
        self.slots.upsert(before.slots)
        self.slots.delete([key for key in rows.slots if key not in before.slots])
        self.backends.delete([key for key in rows.backends if key not in before.backends])
        self.unclean = unclean


def _present(table: TableOf[K, V], rows: Iterable[K]) -> dict[K, V]:
    current = table.current
    return {key: current[key] for key in rows if key in current}
