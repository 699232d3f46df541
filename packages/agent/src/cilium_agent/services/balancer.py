# SPDX-License-Identifier: Apache-2.0
"""Keeps the load-balancing maps in step with Services and EndpointSlices.

Writes go backends, slots, services; removals the other way round: a client finds either the old
or the new state of a service, never a slot without its backend. Nothing is removed until `prune`.
Informer handlers mark services; `flush` does the work. Event loop only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import structlog

from cilium_agent.k8s.informer import Informer, Key
from cilium_agent.k8s.objects import ServiceObject, SliceObject
from cilium_agent.services import desired
from cilium_agent.services.desired import Frontend, Resolved
from cilium_agent.services.tables import Compiler, Rows
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)
from cilium_core.layouts.record import Record

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Record)
V = TypeVar("V", bound=Record)


class TableOf(Protocol[K, V]):
    """The part of the datapath's table that is used."""

    @property
    def current(self) -> Mapping[K, V]: ...

    def upsert(self, rows: Mapping[K, V]) -> object: ...

    def delete(self, keys: Iterable[K]) -> object: ...


class Balancer:
    """Owner of the service, slot and backend maps."""

    def __init__(
        self,
        services: TableOf[ServiceKey, ServiceInfo],
        slots: TableOf[SlotKey, SlotInfo],
        backends: TableOf[BackendKey, BackendInfo],
        node: str,
    ) -> None:
        """Adopt the numbers that the tables hold. `node` is this node's name."""
        self._services = services
        self._slots = slots
        self._backends = backends
        self._node = node
        self._compiler = Compiler()
        self._compiler.adopt(services.current, backends.current)
        self._objects: dict[Key, ServiceObject] = {}
        self._slices: dict[Key, dict[str, SliceObject]] = {}
        self._claimed: dict[Key, frozenset[Frontend]] = {}
        self._claims: dict[Frontend, dict[Key, Resolved]] = {}
        self._rows: dict[Frontend, Rows] = {}
        self._uses: Counter[BackendKey] = Counter()  # frontends that have the backend
        self._marked: set[Key] = set()
        self._may_delete = False

    def attach(self, services: Informer[ServiceObject], slices: Informer[SliceObject]) -> None:
        """Follow both informers."""
        services.on_change(self.observe_service)
        slices.on_change(self.observe_slice)

    def observe_service(self, old: ServiceObject | None, new: ServiceObject | None) -> None:
        """Take a change of one service in."""
        item = new or old
        if item is None:
            return
        key = (item.metadata.namespace, item.metadata.name)
        self._marked.add(key)
        if new is None:
            self._objects.pop(key, None)
            return
        self._objects[key] = new
        for protocol in desired.unsupported_ports(new):
            log.warning("ports are not load-balanced", service="/".join(key), protocol=protocol)

    def observe_slice(self, old: SliceObject | None, new: SliceObject | None) -> None:
        """Take a change of one slice in."""
        for item in (old, new):
            key = desired.service_key(item) if item is not None else None
            if key is None or item is None:
                continue
            self._marked.add(key)
            held = self._slices.setdefault(key, {})
            if item is new:
                held[item.metadata.name] = item
            else:
                held.pop(item.metadata.name, None)
            if not held:
                del self._slices[key]

    @property
    def dirty(self) -> bool:
        """Tell whether something waits for `flush`."""
        return bool(self._marked)

    def flush(self) -> None:
        """Compute the marked services anew and write the difference; others are not looked at."""
        touched: set[Frontend] = set()
        for key in self._marked:
            touched |= self._resolve(key)
        self._marked.clear()
        self._write(touched)

    def prune(self) -> None:
        """Allow removals and remove whatever no service stands for."""
        self._may_delete = True
        self.flush()
        rows = Rows()
        for held in self._rows.values():
            rows.add(held)
        self._services.delete([k for k in self._services.current if k not in rows.services])
        self._slots.delete([k for k in self._slots.current if k not in rows.slots])
        self._backends.delete([k for k in self._backends.current if k not in rows.backends])
        self._compiler.forget_unused(rows)
        self._uses = +self._uses

    def frontends(self) -> dict[Frontend, Resolved]:
        """Return every frontend with the service that has it."""
        return {frontend: self._winner(claims) for frontend, claims in self._claims.items()}

    def _resolve(self, key: Key) -> set[Frontend]:
        """Renew what one service claims; return the frontends that this concerns."""
        item = self._objects.get(key)
        slices = self._slices.get(key, {}).values()
        found = desired.resolve(item, slices, self._node) if item is not None else {}
        before = self._claimed.pop(key, frozenset())
        for frontend in before - found.keys():
            del self._claims[frontend][key]
            if not self._claims[frontend]:
                del self._claims[frontend]
        for frontend, resolved in found.items():
            self._claims.setdefault(frontend, {})[key] = resolved
        if found:
            self._claimed[key] = frozenset(found)
        return {*before, *found}

    @staticmethod
    def _winner(claims: Mapping[Key, Resolved]) -> Resolved:
        """Of two services with one address the first by name has it."""
        return claims[min(claims)]

    def _write(self, touched: Iterable[Frontend]) -> None:
        written, given_up = Rows(), Rows()
        for frontend in touched:
            old = self._rows.pop(frontend, None) or Rows()
            claims = self._claims.get(frontend)
            if claims:
                new = self._compiler.compile({frontend: self._winner(claims)})
                self._rows[frontend] = new
                self._uses.update(list(new.backends))
                written.add(new)
            self._uses.subtract(list(old.backends))
            given_up.add(old)
        self._backends.upsert(written.backends)
        self._slots.upsert(written.slots)
        self._services.upsert(written.services)
        if self._may_delete:
            self._remove(written, given_up)

    def _remove(self, written: Rows, given_up: Rows) -> None:
        services = [key for key in given_up.services if key not in written.services]
        unused = {key: row for key, row in given_up.backends.items() if self._uses[key] <= 0}
        self._services.delete(services)
        self._slots.delete([key for key in given_up.slots if key not in written.slots])
        self._backends.delete(unused)
        for key in unused:
            del self._uses[key]
        self._compiler.forget(services, unused.values())
