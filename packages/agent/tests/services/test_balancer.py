# SPDX-License-Identifier: Apache-2.0
"""The maps after any run of events are the model's, and no reader ever finds a hole on the way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cilium_agent.api.status import not_available
from cilium_agent.config import Settings
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
from cilium_agent.metrics.collector import Renderer
from cilium_agent.services.balancer import Balancer
from cilium_agent.services.listing import service_list
from cilium_agent.state import AgentState
from cilium_core.addresses import unpack_address
from cilium_core.layouts.datapath import BackendKey, SlotKey

READY = Conditions(ready=True)


class Maps:
    """Three maps; after each single write every service must resolve to whole backends."""

    def __init__(self, check: bool = True) -> None:
        self.services, self.slots, self.backends = (MemoryTable(self) for _ in range(3))
        self.checked = check

    def balancer(self) -> Balancer:
        return Balancer(self.services, self.slots, self.backends, "node1")

    def check(self) -> None:
        if not self.checked:
            return
        for info in self.services.rows.values():
            for number in range(info.count):
                slot = self.slots.rows[SlotKey(info.service_id, number)]
                assert slot.service_id == info.service_id
                backend = self.backends.rows[BackendKey(slot.backend_id)]
                assert backend.backend_id == slot.backend_id

    def resolved(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key, info in self.services.rows.items():
            slots = [self.slots.rows[SlotKey(info.service_id, n)] for n in range(info.count)]
            rows = [self.backends.rows[BackendKey(slot.backend_id)] for slot in slots]
            texts = [f"{unpack_address(row.addr)}:{row.port}" for row in rows]
            found[f"{unpack_address(key.addr)}:{key.port}"] = texts
        return found


class MemoryTable:
    """A table whose every single write is looked at."""

    def __init__(self, maps: Maps) -> None:
        self.rows: dict[Any, Any] = {}
        self.writes = 0
        self._maps = maps

    @property
    def current(self) -> Mapping[Any, Any]:
        return self.rows

    def upsert(self, rows: Mapping[Any, Any]) -> None:
        for key, row in rows.items():
            if self.rows.get(key) != row:
                self.rows[key] = row
                self.writes += 1
                self._maps.check()

    def delete(self, keys: Iterable[Any]) -> None:
        for key in list(keys):
            self.rows.pop(key, None)
            self.writes += 1
            self._maps.check()


def service(number: int) -> ServiceObject:
    spec = ServiceSpec(
        cluster_ips=[str(IPv4Address("10.96.0.0") + number)], ports=[ServicePort(port=80)]
    )
    return ServiceObject(metadata=Meta(name=f"s{number}", namespace="shop"), spec=spec)


def slice_of(number: int, hosts: Iterable[int]) -> SliceObject:
    labels = {"kubernetes.io/service-name": f"s{number}"}
    return SliceObject(
        metadata=Meta(name=f"slice{number}", namespace="shop", labels=labels),
        address_type="IPv4",
        endpoints=[
            SliceEndpoint(addresses=[str(IPv4Address("10.0.0.0") + h)], conditions=READY)
            for h in hosts
        ],
        ports=[SlicePort(port=8080)],
    )


# A step sets a service's hosts, or removes the service (None).
STEPS = st.lists(
    st.tuples(st.integers(1, 3), st.none() | st.frozensets(st.integers(1, 5), max_size=5)),
    max_size=12,
)


@given(STEPS, st.booleans())
def test_maps_are_the_model_and_never_broken(
    steps: list[tuple[int, frozenset[int] | None]], restart: bool
) -> None:
    maps = Maps()
    balancer = maps.balancer()
    balancer.prune()
    known: dict[int, tuple[ServiceObject, SliceObject]] = {}
    for number, hosts in steps:
        old = known.pop(number, (None, None))
        if hosts is not None:
            known[number] = (service(number), slice_of(number, hosts))
        new = known.get(number, (None, None))
        balancer.observe_service(old[0], new[0])
        balancer.observe_slice(old[1], new[1])
        balancer.flush()
    expected = {
        f"10.96.0.{number}:80": [
            f"{address}:8080" for address in sorted(e.addresses[0] for e in item.endpoints or [])
        ]
        for number, (_, item) in known.items()
    }
    assert maps.resolved() == expected
    if restart:
        _restarts_without_a_write(maps, known)


def _restarts_without_a_write(
    maps: Maps, known: Mapping[int, tuple[ServiceObject, SliceObject]]
) -> None:
    before = [table.writes for table in (maps.services, maps.slots, maps.backends)]
    again = maps.balancer()
    for item, listed in reversed(known.values()):  # events come in another order
        again.observe_slice(None, listed)
        again.observe_service(None, item)
        again.flush()
    again.prune()
    assert [table.writes for table in (maps.services, maps.slots, maps.backends)] == before


def test_nothing_is_removed_before_prune() -> None:
    maps = Maps()
    first = maps.balancer()
    first.observe_service(None, service(1))
    first.observe_slice(None, slice_of(1, [1, 2]))
    first.flush()
    second = maps.balancer()
    second.observe_service(None, service(2))
    second.flush()
    assert set(maps.resolved()) == {"10.96.0.1:80", "10.96.0.2:80"}
    second.prune()
    assert set(maps.resolved()) == {"10.96.0.2:80"}
    assert not maps.backends.rows


def test_listing_names_what_the_kernel_holds() -> None:
    maps = Maps()
    balancer = maps.balancer()
    balancer.observe_service(None, service(1))
    balancer.observe_slice(None, slice_of(1, [7]))
    balancer.flush()
    (entry,) = service_list(
        maps.services.rows, maps.slots.rows, maps.backends.rows, balancer.frontends()
    )
    assert entry["spec"]["frontend-address"]["ip"] == "10.96.0.1"
    assert entry["spec"]["flags"] == {
        "type": "ClusterIP",
        "name": "s1",
        "namespace": "shop",
        "portName": "",
    }
    (backend,) = entry["spec"]["backend-addresses"]
    assert (backend["ip"], backend["port"], backend["state"]) == ("10.0.0.7", 8080, "active")


def test_of_two_services_with_one_address_the_first_by_name_has_it() -> None:
    maps = Maps()
    balancer = maps.balancer()
    balancer.prune()
    twin = service(1)
    twin.metadata.name = "a-twin"
    balancer.observe_service(None, service(1))
    balancer.observe_slice(None, slice_of(1, [1]))
    balancer.flush()
    assert maps.resolved() == {"10.96.0.1:80": ["10.0.0.1:8080"]}
    balancer.observe_service(None, twin)
    balancer.flush()
    assert maps.resolved() == {"10.96.0.1:80": []}
    balancer.observe_service(twin, None)
    balancer.flush()
    assert maps.resolved() == {"10.96.0.1:80": ["10.0.0.1:8080"]}


def test_one_change_among_thousands_of_services_does_not_hold_the_loop() -> None:
    maps = Maps(check=False)
    balancer = maps.balancer()
    for number in range(1, 5001):
        balancer.observe_service(None, service(number))
        balancer.observe_slice(None, slice_of(number, range(number, number + 5)))
    balancer.prune()
    balancer.observe_slice(slice_of(5, range(5, 10)), slice_of(5, range(5, 9)))
    start = time.process_time()
    balancer.flush()
    assert time.process_time() - start < 0.01


def test_session_affinity_is_refused_honestly() -> None:
    maps = Maps()
    balancer = maps.balancer()
    sticky = service(1)
    sticky.spec.session_affinity = "ClientIP"
    headless = service(2)
    headless.spec.session_affinity = "ClientIP"
    headless.spec.cluster_ips = ["None"]
    later = service(1)
    later.spec.session_affinity = "ClientIP"
    later.metadata.resource_version = "2"
    with capture_logs() as logs:
        balancer.observe_service(None, sticky)
        balancer.observe_service(sticky, later)
        balancer.observe_service(None, headless)
    assert [entry["service"] for entry in logs if "sessionAffinity" in entry["event"]] == [
        "shop/s1"
    ], "once for each service"
    assert balancer.not_available() == ["session affinity of 1 services (shop/s1)"]
    for number in range(3, 7):
        more = service(number)
        more.spec.session_affinity = "ClientIP"
        balancer.observe_service(None, more)
    assert balancer.not_available() == [
        "session affinity of 5 services (shop/s1 shop/s3 shop/s4 …)"
    ]
    state = AgentState(settings=Settings(node_name="node1"), features_not_available=("hubble",))
    state.balancer = balancer
    assert not_available(state) == ["hubble", *balancer.not_available()]
    assert "session affinity of 5" in Renderer(state).render().decode()
    balancer.observe_service(later, service(1))
    assert "of 4 services" in balancer.not_available()[0]
