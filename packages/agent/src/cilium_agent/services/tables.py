# SPDX-License-Identifier: Apache-2.0
"""Frontends to map rows, with numbers that survive a restart.

Service and backend numbers are arbitrary; they are read back from the maps before the first
difference is computed, so an agent that restarts rewrites nothing. A number that was given up is
taken again only after all others (the counter wraps), since translations may still carry it.
Pure, one owner.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cilium_agent.services.desired import Backend, Frontend, Resolved
from cilium_core.addresses import pack_address, unpack_address
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    BackendState,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)

H = TypeVar("H", bound=Hashable)
_LAST = 0xFFFFFFFE


class Numbers(Generic[H]):
    """Gives each holder a number from 1 on and keeps it until the holder is dropped."""

    def __init__(self) -> None:
        """Start with none given."""
        self._of: dict[H, int] = {}
        self._taken: set[int] = set()
        self._last = 0

    def adopt(self, holder: H, number: int) -> None:
        """Take a number over from the kernel; a second holder of it is ignored."""
        if number and number not in self._taken and holder not in self._of:
            self._of[holder] = number
            self._taken.add(number)
            self._last = max(self._last, number)

    def get(self, holder: H) -> int:
        """Return the holder's number, a new one when it has none."""
        if holder not in self._of:
            while True:
                self._last = self._last + 1 if self._last < _LAST else 1
                if self._last not in self._taken:
                    break
            self._of[holder] = self._last
            self._taken.add(self._last)
        return self._of[holder]

    def drop(self, holder: H) -> None:
        """Give up one holder's number; none is not an error."""
        self._taken.discard(self._of.pop(holder, 0))

    def keep(self, holders: Iterable[H]) -> None:
        """Give up the numbers of all other holders."""
        wanted = set(holders)
        for holder in [h for h in self._of if h not in wanted]:
            self._taken.discard(self._of.pop(holder))


@dataclass(slots=True)
class Rows:
    """The rows of the three maps."""

    services: dict[ServiceKey, ServiceInfo] = field(default_factory=dict)
    slots: dict[SlotKey, SlotInfo] = field(default_factory=dict)
    backends: dict[BackendKey, BackendInfo] = field(default_factory=dict)

    def add(self, other: Rows) -> None:
        """Take another's rows in."""
        self.services.update(other.services)
        self.slots.update(other.slots)
        self.backends.update(other.backends)


class Compiler:
    """Turns frontends into rows."""

    def __init__(self) -> None:
        """Start without numbers; `adopt` before the first `compile` after a restart."""
        self.services: Numbers[ServiceKey] = Numbers()
        self.backends: Numbers[tuple[bytes, int, int]] = Numbers()

    def adopt(
        self,
        services: Mapping[ServiceKey, ServiceInfo],
        backends: Mapping[BackendKey, BackendInfo],
    ) -> None:
        """Take the numbers over that the kernel's rows carry."""
        for key, info in services.items():
            self.services.adopt(key, info.service_id)
        for number, backend in backends.items():
            holder = (backend.addr, backend.port, backend.proto)
            self.backends.adopt(holder, number.backend_id)

    def compile(self, frontends: Mapping[Frontend, Resolved]) -> Rows:
        """Return all rows that the frontends need."""
        rows = Rows()
        for frontend, resolved in frontends.items():
            key = service_key(frontend)
            number = self.services.get(key)
            for slot, backend in enumerate(resolved.backends):
                backend_id = self._backend(rows, backend)
                rows.slots[SlotKey(number, slot)] = SlotInfo(backend_id, number)
            rows.services[key] = ServiceInfo(
                service_id=number,
                count=len(resolved.backends),
                flags=int(resolved.flags),
                affinity_seconds=resolved.affinity_seconds,
            )
        return rows

    def forget(self, services: Iterable[ServiceKey], backends: Iterable[BackendInfo]) -> None:
        """Give up the numbers of rows that the kernel does not hold any more."""
        for key in services:
            self.services.drop(key)
        for info in backends:
            self.backends.drop((info.addr, info.port, info.proto))

    def forget_unused(self, rows: Rows) -> None:
        """Give up the numbers that no row uses; call after the kernel holds `rows`."""
        self.services.keep(rows.services)
        self.backends.keep((b.addr, b.port, b.proto) for b in rows.backends.values())

    def _backend(self, rows: Rows, backend: Backend) -> int:
        packed = pack_address(backend.address)
        number = self.backends.get((packed, backend.port, backend.protocol))
        key = BackendKey(number)
        if key not in rows.backends:
            state = BackendState.TERMINATING if backend.terminating else BackendState.ACTIVE
            rows.backends[key] = BackendInfo(
                addr=packed,
                port=backend.port,
                proto=backend.protocol,
                state=int(state),
                backend_id=number,
            )
        return number


def service_key(frontend: Frontend) -> ServiceKey:
    """Return the map key of a frontend."""
    return ServiceKey(pack_address(frontend.address), frontend.port, frontend.protocol)


def frontend_of(key: ServiceKey) -> Frontend:
    """Return the frontend of a map key."""
    return Frontend(unpack_address(key.addr), key.port, key.proto)
