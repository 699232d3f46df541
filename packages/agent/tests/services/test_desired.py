# SPDX-License-Identifier: Apache-2.0
"""Which backends a service has, case by case."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from cilium_agent.k8s.objects import (
    AffinityConfig,
    ClientIP,
    Conditions,
    Meta,
    ServiceObject,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SliceObject,
    SlicePort,
)
from cilium_agent.services.desired import (
    Frontend,
    problems_of_service,
    problems_of_slice,
    resolve,
    service_key,
    unsupported_ports,
)
from cilium_agent.services.tables import Compiler
from cilium_core.layouts.datapath import BackendState, ServiceFlag

READY = Conditions(ready=True, serving=True, terminating=False)
STARTING = Conditions(ready=False, serving=False, terminating=False)
LEAVING = Conditions(ready=False, serving=True, terminating=True)
LEFT = Conditions(ready=False, serving=False, terminating=True)


def service(**spec: object) -> ServiceObject:
    ports = [ServicePort(name="http", port=80)]
    given = {"cluster_ips": ["10.96.0.5"], "ports": ports, **spec}
    return ServiceObject(
        metadata=Meta(name="web", namespace="shop"),
        spec=ServiceSpec(**given),  # type: ignore[arg-type]
    )


def slice_of(
    *endpoints: tuple[str, Conditions, str], version: int = 4, **ports: int
) -> SliceObject:
    listed = [
        SlicePort(name=n, port=p, protocol="TCP") for n, p in (ports or {"http": 8080}).items()
    ]
    return SliceObject(
        metadata=Meta(name="s", namespace="shop", labels={"kubernetes.io/service-name": "web"}),
        address_type=f"IPv{version}",
        endpoints=[
            SliceEndpoint(addresses=[address], conditions=conditions, node_name=node)
            for address, conditions, node in endpoints
        ],
        ports=listed,
    )


def backends(found: dict[Frontend, object], frontend: str = "10.96.0.5") -> list[str]:
    resolved = found[Frontend(ip_address(frontend), 80, 6)]
    return [f"{b.address}:{b.port}" for b in resolved.backends]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([("10.0.0.1", READY), ("10.0.0.2", READY)], ["10.0.0.1:8080", "10.0.0.2:8080"]),
        ([("10.0.0.1", READY), ("10.0.0.2", STARTING)], ["10.0.0.1:8080"]),
        ([("10.0.0.1", READY), ("10.0.0.2", LEAVING)], ["10.0.0.1:8080"]),
        ([("10.0.0.1", LEAVING), ("10.0.0.2", LEFT)], ["10.0.0.1:8080"]),
        ([("10.0.0.1", STARTING)], []),
        ([("10.0.0.1", Conditions())], ["10.0.0.1:8080"]),
        ([("10.0.0.1", READY), ("10.0.0.1", READY)], ["10.0.0.1:8080"]),
        ([], []),
    ],
)
def test_conditions(endpoints: list[tuple[str, Conditions]], expected: list[str]) -> None:
    item = slice_of(*((address, conditions, "node1") for address, conditions in endpoints))
    assert backends(resolve(service(), [item], "node1")) == expected


def test_backends_that_leave_say_so_while_they_are_all_there_is() -> None:
    leaving = slice_of(("10.0.0.1", LEAVING, "node1"), ("10.0.0.2", LEFT, "node1"))
    (resolved,) = resolve(service(), [leaving], "node1").values()
    assert [(str(b.address), b.terminating) for b in resolved.backends] == [("10.0.0.1", True)]
    # Another slice knows of the same one that it is there to stay.
    serving = Conditions(ready=False, serving=True, terminating=False)
    other = slice_of(("10.0.0.1", serving, "node1"))
    for listed in ([leaving, other], [other, leaving]):
        (resolved,) = resolve(service(), listed, "node1").values()
        assert [b.terminating for b in resolved.backends] == [False]
    frontend = Frontend(ip_address("10.96.0.5"), 80, 6)
    compiler = Compiler()
    (first,) = compiler.compile(resolve(service(), [leaving], "node1")).backends.values()
    assert BackendState(first.state) is BackendState.TERMINATING
    ready = slice_of(("10.0.0.1", READY, "node1"))
    (again,) = compiler.compile(
        {frontend: resolve(service(), [ready], "node1")[frontend]}
    ).backends.values()
    assert again == replace(first, state=int(BackendState.ACTIVE))


def test_text_that_is_no_address_is_left_out_and_named() -> None:
    odd = service(cluster_ips=["10.96.0.5", "010.96.0.6"])
    item = slice_of(("10.0.0.1", READY, "node1"), ("10.0.0.999", READY, "node1"))
    found = resolve(odd, [item], "node1")
    assert list(found) == [Frontend(ip_address("10.96.0.5"), 80, 6)]
    assert backends(found) == ["10.0.0.1:8080"]
    assert [str(p) for p in problems_of_service(odd)] == [
        "spec.clusterIPs: '010.96.0.6' is not an address"
    ]
    assert [p.field for p in problems_of_slice(item)] == ["endpoints[1].addresses"]
    names = slice_of(("web.example", READY, "node1"))
    names.address_type = "FQDN"
    assert problems_of_slice(names) == []


def test_ports_go_by_name() -> None:
    item = slice_of(("10.0.0.1", READY, "node1"), http=8080, other=9999)
    assert backends(resolve(service(), [item], "node1")) == ["10.0.0.1:8080"]
    item = slice_of(("10.0.0.1", READY, "node1"), other=9999)
    assert backends(resolve(service(), [item], "node1")) == []


def test_families_do_not_mix() -> None:
    two = service(cluster_ips=["10.96.0.5", "fd00:96::5"])
    v4 = slice_of(("10.0.0.1", READY, "node1"))
    v6 = slice_of(("fd00::1", READY, "node1"), version=6)
    found = resolve(two, [v4, v6], "node1")
    assert backends(found) == ["10.0.0.1:8080"]
    assert backends(found, "fd00:96::5") == ["fd00::1:8080"]


def test_internal_traffic_policy_local_keeps_to_the_node() -> None:
    item = slice_of(("10.0.0.1", READY, "node1"), ("10.0.0.2", READY, "node2"))
    found = resolve(service(internal_traffic_policy="Local"), [item], "node2")
    assert backends(found) == ["10.0.0.2:8080"]
    (resolved,) = found.values()
    assert resolved.flags == ServiceFlag.INTERNAL_LOCAL


def test_affinity_carries_its_seconds() -> None:
    plain = service(session_affinity="ClientIP")
    (resolved,) = resolve(plain, [], "node1").values()
    assert (resolved.flags, resolved.affinity_seconds) == (ServiceFlag.AFFINITY, 10800)
    config = AffinityConfig(client_ip=ClientIP(timeout_seconds=30))
    (resolved,) = resolve(
        service(session_affinity="ClientIP", session_affinity_config=config), [], "node1"
    ).values()
    assert resolved.affinity_seconds == 30


def test_services_without_an_address_have_no_frontend() -> None:
    assert resolve(service(cluster_ips=["None"]), [], "node1") == {}
    assert resolve(service(type="ExternalName", cluster_ips=[]), [], "node1") == {}


def test_sctp_is_left_out_and_named() -> None:
    sctp = service(ports=[ServicePort(name="s", port=9, protocol="SCTP")])
    assert resolve(sctp, [], "node1") == {}
    assert unsupported_ports(sctp) == ["SCTP"]


def test_slices_of_no_service_are_known() -> None:
    assert service_key(slice_of()) == ("shop", "web")
    assert service_key(SliceObject(metadata=Meta(name="x", namespace="y"))) is None
