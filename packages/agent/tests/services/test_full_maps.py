# SPDX-License-Identifier: Apache-2.0
"""Maps that are full: what fits is written, nobody finds a hole, and room that comes is used."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.datapath.errors import KernelError
from cilium_agent.k8s.objects import (
    Conditions,
    Meta,
    ServiceObject,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SliceObject,
    SlicePort,
)
from cilium_agent.services import desired
from cilium_agent.services.balancer import Balancer
from cilium_core.addresses import unpack_address
from cilium_core.layouts.datapath import BackendKey, SlotKey


class Maps:
    """Three maps of limited size; after each write every service resolves to whole backends."""

    def __init__(self, services: int = 99, slots: int = 99, backends: int = 99) -> None:
        self.services = BoundedTable(self, services)
        self.slots = BoundedTable(self, slots)
        self.backends = BoundedTable(self, backends)
        self.balancer = Balancer(self.services, self.slots, self.backends, "node1")

    def resolved(self) -> dict[int, list[int]]:
        """Return the last byte of each service's address with those of its backends."""
        found: dict[int, list[int]] = {}
        for key, info in self.services.rows.items():
            slots = [self.slots.rows[SlotKey(info.service_id, n)] for n in range(info.count)]
            rows = [self.backends.rows[BackendKey(slot.backend_id)] for slot in slots]
            number = int(unpack_address(key.addr)) & 0xFF
            found[number] = [int(unpack_address(row.addr)) & 0xFF for row in rows]
        return found


class BoundedTable:
    """As the datapath's table: a full map takes the rows in order until there is no room."""

    def __init__(self, maps: Maps, room: int) -> None:
        self.rows: dict[Any, Any] = {}
        self.room = room
        self.refusals = 0
        self._maps = maps

    @property
    def current(self) -> Mapping[Any, Any]:
        return self.rows

    def upsert(self, rows: Mapping[Any, Any]) -> None:
        for key, row in rows.items():
            if key not in self.rows and len(self.rows) >= self.room:
                self.refusals += 1
                raise KernelError("map_update", errno.E2BIG, "no room")
            self.rows[key] = row
            self._maps.resolved()

    def delete(self, keys: Iterable[Any]) -> None:
        for key in list(keys):
            self.rows.pop(key, None)
            self._maps.resolved()


def service(number: int, **spec: Any) -> ServiceObject:
    address = str(IPv4Address("10.96.0.0") + number)
    return ServiceObject(
        metadata=Meta(name=f"s{number}", namespace="shop"),
        spec=ServiceSpec(cluster_ips=[address], ports=[ServicePort(port=80)], **spec),
    )


def slice_of(number: int, hosts: Iterable[int]) -> SliceObject:
    ready = Conditions(ready=True)
    return SliceObject(
        metadata=Meta(
            name=f"slice{number}", namespace="shop", labels={desired.SERVICE_NAME: f"s{number}"}
        ),
        address_type="IPv4",
        endpoints=[
            SliceEndpoint(addresses=[str(IPv4Address("10.0.0.0") + host)], conditions=ready)
            for host in hosts
        ],
        ports=[SlicePort(port=8080)],
    )


Known = dict[int, tuple[ServiceObject, SliceObject]]


def change(maps: Maps, known: Known, number: int, hosts: Iterable[int] | None) -> None:
    old = known.pop(number, (None, None))
    if hosts is not None:
        known[number] = (service(number), slice_of(number, hosts))
    new = known.get(number, (None, None))
    maps.balancer.observe_service(old[0], new[0])
    maps.balancer.observe_slice(old[1], new[1])


def wanted(known: Known) -> dict[int, list[int]]:
    return {
        number: sorted(int(e.addresses[0].split(".")[3]) for e in item.endpoints or [])
        for number, (_, item) in known.items()
    }


HOSTS = st.none() | st.frozensets(st.integers(1, 6), max_size=5)
STEPS = st.lists(st.tuples(st.integers(1, 4), HOSTS), max_size=12)


@given(STEPS, st.integers(1, 4), st.integers(0, 12), st.integers(0, 6))
def test_no_hole_while_full_and_the_model_once_there_is_room(
    steps: list[tuple[int, frozenset[int] | None]], services: int, slots: int, backends: int
) -> None:
    maps = Maps(services, slots, backends)
    with contextlib.suppress(KernelError):
        maps.balancer.prune()
    known: Known = {}
    for number, hosts in steps:
        change(maps, known, number, hosts)
        with contextlib.suppress(KernelError):
            maps.balancer.flush()
        for there, found in maps.resolved().items():
            if there not in known:
                raise AssertionError(f"service {there} is gone and still resolves to {found}")
    for table in (maps.services, maps.slots, maps.backends):
        table.room = 99
    maps.balancer.flush()
    assert maps.resolved() == wanted(known)
    assert not maps.balancer.dirty
    hosts_in_use = {host for hosts in wanted(known).values() for host in hosts}
    assert len(maps.backends.rows) == len(hosts_in_use), "nothing is left behind"
    assert len(maps.slots.rows) == sum(len(hosts) for hosts in wanted(known).values())


def test_one_that_does_not_fit_keeps_no_other_from_its_change() -> None:
    maps = Maps(slots=6)
    maps.balancer.prune()
    known: Known = {}
    change(maps, known, 1, [1, 2])
    maps.balancer.flush()
    change(maps, known, 1, [3, 4])  # the same room
    change(maps, known, 2, range(1, 6))  # five slots: too many
    change(maps, known, 3, [1, 2, 3, 4])  # four: these fit
    with pytest.raises(KernelError, match="no room"):
        maps.balancer.flush()
    assert maps.resolved() == {1: [3, 4], 3: [1, 2, 3, 4]}
    change(maps, known, 3, None)
    with pytest.raises(KernelError):
        maps.balancer.flush()  # removals come last
    with pytest.raises(KernelError):
        maps.balancer.flush()  # four are free, five are needed
    change(maps, known, 1, [3])
    with pytest.raises(KernelError):
        maps.balancer.flush()
    maps.balancer.flush()
    assert maps.resolved() == {1: [3], 2: [1, 2, 3, 4, 5]}


def test_after_a_restart_what_does_not_fit_keeps_its_old_rows() -> None:
    maps = Maps(slots=4)
    known: Known = {}
    change(maps, known, 1, [1, 2])
    change(maps, known, 2, [3, 4])
    maps.balancer.prune()
    maps.balancer = Balancer(maps.services, maps.slots, maps.backends, "node1")
    again: Known = {}
    change(maps, again, 1, [2, 5, 6])  # one slot too many
    change(maps, again, 2, [3, 4])
    with pytest.raises(KernelError):
        maps.balancer.prune()
    assert maps.resolved() == {1: [1, 2], 2: [3, 4]}
    change(maps, again, 2, [3])
    with pytest.raises(KernelError):
        maps.balancer.flush()
    maps.balancer.flush()
    assert maps.resolved() == {1: [2, 5, 6], 2: [3]}
    assert len(maps.backends.rows) == 4


def test_what_cannot_fit_is_not_tried_over_and_over() -> None:
    maps = Maps(slots=2)
    known: Known = {}
    for number in range(1, 200):
        change(maps, known, number, [1, 2, 3])
    with pytest.raises(KernelError):
        maps.balancer.flush()
    before = maps.slots.refusals
    with pytest.raises(KernelError):
        maps.balancer.flush()
    assert maps.slots.refusals - before == 1, "one refusal stands for all that need as much"


def test_a_service_that_cannot_be_understood_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps = Maps()
    known: Known = {}
    change(maps, known, 1, [1])
    change(maps, known, 2, [2])
    resolve = desired.resolve

    def clumsy(item: ServiceObject, *rest: Any) -> Any:
        if item.metadata.name == "s1":
            raise KeyError("a mistake")
        return resolve(item, *rest)

    monkeypatch.setattr(desired, "resolve", clumsy)
    with pytest.raises(KeyError):
        maps.balancer.flush()
    assert maps.resolved() == {2: [2]}
    monkeypatch.undo()
    maps.balancer.flush()
    assert maps.resolved() == {1: [1], 2: [2]}
