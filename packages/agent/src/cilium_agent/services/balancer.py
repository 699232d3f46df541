# SPDX-License-Identifier: Apache-2.0
"""Keeps the load-balancing maps in step with Services and EndpointSlices.

Informer handlers mark services; `flush` does the work. Nothing is removed until `prune`. A map may
be full: frontends that fit are written, the others keep what they had and are tried again by the
next `flush`. Event loop only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import structlog

from cilium_agent.k8s.informer import Informer, Key
from cilium_agent.k8s.objects import ServiceObject, SliceObject
from cilium_agent.services import desired
from cilium_agent.services.desired import Frontend, Resolved
from cilium_agent.services.maps import ServiceMaps, TableOf
from cilium_agent.services.tables import Compiler, Rows
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)

log = structlog.get_logger(__name__)


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
        self._maps = ServiceMaps(services, slots, backends)
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
        self._unwritten: dict[Frontend, Rows] = {}  # what did not fit
        self._unswept = False  # rows that nothing stands for may be left
        self._may_delete = False
        self.on_written: Callable[[], None] = lambda: None

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
        for problem in desired.problems_of_service(new):
            log.warning("address left out", service="/".join(key), error=str(problem))
        if desired.wants_affinity(new) and not (old and desired.wants_affinity(old)):
            log.warning(
                "sessionAffinity ClientIP is not available yet: each connection of a client may "
                "reach another backend",
                service="/".join(key),
            )

    def observe_slice(self, old: SliceObject | None, new: SliceObject | None) -> None:
        """Take a change of one slice in."""
        if new is not None:
            for problem in desired.problems_of_slice(new):
                name = f"{new.metadata.namespace}/{new.metadata.name}"
                log.warning("address left out", slice=name, error=str(problem))
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
        return bool(self._marked or self._unwritten or self._unswept or self._maps.unclean)

    def flush(self) -> None:
        """Compute the marked services anew and write the difference; others are not looked at.

        Raises what a table (or a service that cannot be understood) raised, after all that could
        be written was.
        """
        touched: set[Frontend] = set()
        errors: dict[Key, Exception] = {}
        for key in self._marked:
            try:
                touched |= self._resolve(key)
            except Exception as error:
                errors[key] = error
        self._marked = set(errors)
        refused = self._write(touched)
        if (self._unswept or self._maps.unclean) and self._may_delete:
            self._sweep()
        self.on_written()
        for failure in (*errors.values(), *refused):
            raise failure

    def prune(self) -> None:
        """Allow removals and remove whatever no service stands for. Raises as `flush`."""
        self._may_delete = self._unswept = True
        self.flush()

    def not_available(self) -> list[str]:
        """Return what services ask for and do not get, with their names, for status."""
        asking = [
            "/".join(key) for key, item in self._objects.items() if desired.wants_affinity(item)
        ]
        if not asking:
            return []
        named = " ".join(sorted(asking)[:3]) + (" …" if len(asking) > 3 else "")
        return [f"session affinity of {len(asking)} services ({named})"]

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

    def _write(self, touched: Iterable[Frontend]) -> list[Exception]:
        """Write the frontends' rows, and remove those given up; return what went wrong."""
        fresh = {frontend: self._compile(frontend) for frontend in touched}
        waiting = {one: rows for one, rows in self._unwritten.items() if one not in fresh}
        failed = self._maps.write(fresh, waiting)
        rows = waiting | fresh
        written, given_up = Rows(), Rows()
        for frontend, new in rows.items():
            given_up.add(self._settle(frontend, None if frontend in failed else new))
            if frontend not in failed:
                written.add(new)
        for frontend in self._unwritten.keys() & fresh.keys():
            # Nothing of it was written, but it has numbers.
            given_up.backends.update(self._unwritten[frontend].backends)
            if not fresh[frontend].services:
                given_up.services.update(self._unwritten[frontend].services)
        self._unwritten = {frontend: rows[frontend] for frontend in failed}
        if self._may_delete:
            self._remove(written, given_up)
        return list(failed.values())

    def _compile(self, frontend: Frontend) -> Rows:
        claims = self._claims.get(frontend)
        return self._compiler.compile({frontend: self._winner(claims)}) if claims else Rows()

    def _settle(self, frontend: Frontend, new: Rows | None) -> Rows:
        """Note what the kernel holds of a frontend now; return the rows that it gave up.

        None for a frontend that did not fit: it keeps what it had, from before a restart even.
        """
        if new is None:
            if frontend in self._rows:
                return Rows()
            new = self._maps.held(frontend)
        old = self._rows.pop(frontend, None) or Rows()
        if new.services:
            self._rows[frontend] = new
            self._uses.update(list(new.backends))
        self._uses.subtract(list(old.backends))
        return old

    def _remove(self, written: Rows, given_up: Rows) -> None:
        services = [key for key in given_up.services if key not in written.services]
        slots = [key for key in given_up.slots if key not in written.slots]
        waiting = {key for rows in self._unwritten.values() for key in rows.backends}
        unused = {
            key: row
            for key, row in given_up.backends.items()
            if self._uses[key] <= 0 and key not in waiting
        }
        self._maps.delete(services, slots, unused)
        for key in unused:
            del self._uses[key]
        self._compiler.forget(services, unused.values())

    def _sweep(self) -> None:
        """Remove every row that no frontend has; a scan of the tables."""
        rows = Rows()
        for held in self._rows.values():
            rows.add(held)
        self._maps.keep(rows)
        self._unswept = False
        for waiting in self._unwritten.values():
            rows.add(waiting)
        self._compiler.forget_unused(rows)
        self._uses = +self._uses
