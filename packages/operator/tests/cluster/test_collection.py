# SPDX-License-Identifier: Apache-2.0
"""Garbage collection, exhaustion and leadership of real operators against a real API server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

CILIUM = "/apis/cilium.io/v2"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/cilium-operator-resource-lock"


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {check}"
        time.sleep(0.1)


def established(plane: Any, name: str) -> bool:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.cilium.io"
    body = plane.request("GET", path) or {}
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def make(plane: Any, path: str, kind: str, name: str, **fields: Any) -> Any:
    body = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": name}, **fields}
    return plane.request("POST", path, body)


def configure(tmp_path: Path, **values: str) -> None:
    for key, value in values.items():
        (tmp_path / "config" / key.replace("_", "-")).write_text(value)


def make_endpoint(plane: Any, name: str, identity: int) -> None:
    path = f"{CILIUM}/namespaces/default/ciliumendpoints"
    make(plane, path, "CiliumEndpoint", name, status={"identity": {"id": identity}})


def make_pod(plane: Any, name: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    plane.request("POST", "/api/v1/namespaces/default/pods", body)


def test_unused_identities_and_endpoints_without_pod_go(
    plane: Any, operator: Any, tmp_path: Path
) -> None:
    configure(
        tmp_path,
        identity_gc_interval="1s",
        identity_heartbeat_timeout="2s",
        cilium_endpoint_gc_interval="1s",
    )
    operator.start()
    eventually(lambda: established(plane, "ciliumendpoints"))
    eventually(lambda: established(plane, "ciliumidentities"))
    make_pod(plane, "alive")
    make_pod(plane, "ended")
    make_endpoint(plane, "ended", 4001)
    body = {"status": {"phase": "Succeeded"}}
    merge = "application/merge-patch+json"
    plane.request("PATCH", "/api/v1/namespaces/default/pods/ended/status", body, merge)
    make_endpoint(plane, "alive", 4001)
    make_endpoint(plane, "orphan", 4002)
    for number in (4001, 4002):
        labels = {"security-labels": {"k8s:app": str(number)}}
        make(plane, f"{CILIUM}/ciliumidentities", "CiliumIdentity", str(number), **labels)
    endpoints = f"{CILIUM}/namespaces/default/ciliumendpoints"
    eventually(lambda: plane.request("GET", f"{endpoints}/orphan") is None)
    eventually(lambda: plane.request("GET", f"{endpoints}/ended") is None)

    def mark(number: int) -> Any:
        found = plane.request("GET", f"{CILIUM}/ciliumidentities/{number}")
        return found and found["metadata"].get("annotations", {}).get("io.cilium.heartbeat")

    eventually(lambda: mark(4002))
    eventually(lambda: plane.request("GET", f"{CILIUM}/ciliumidentities/4002") is None)
    assert plane.request("GET", f"{CILIUM}/ciliumidentities/4001") is not None
    assert mark(4001) is None
    assert plane.request("GET", f"{endpoints}/alive") is not None


def test_text_that_is_no_address_is_refused(plane: Any, operator: Any) -> None:
    operator.start()
    eventually(lambda: established(plane, "ciliumnodes"))
    eventually(lambda: established(plane, "ciliumendpoints"))
    for spec in (
        {"ipam": {"podCIDRs": ["10.0.0.0/33"]}},
        {"addresses": [{"type": "InternalIP", "ip": "node1"}]},
    ):
        with pytest.raises(AssertionError, match="should match"):
            make(plane, f"{CILIUM}/ciliumnodes", "CiliumNode", "odd", spec=spec)
    path = f"{CILIUM}/namespaces/default/ciliumendpoints"
    bad = {"networking": {"addressing": [{"ipv4": "10.0.0.256"}], "node": "172.30.0.11"}}
    with pytest.raises(AssertionError, match="should match"):
        make(plane, path, "CiliumEndpoint", "odd", status=bad)
    good = {"networking": {"addressing": [{"ipv4": "10.0.0.5"}], "node": ""}}
    make(plane, path, "CiliumEndpoint", "good", status=good)
    plane.request("DELETE", f"{path}/good")


def test_exhaustion_is_shown_and_ends_when_a_node_goes(
    plane: Any, operator: Any, tmp_path: Path
) -> None:
    configure(
        tmp_path, cluster_pool_ipv4_cidr="10.200.0.0/24", cluster_pool_ipv6_cidr="fd00:200::/119"
    )
    operator.start()
    eventually(lambda: established(plane, "ciliumnodes"))
    for name in ("full1", "full2"):
        plane.request(
            "POST",
            "/api/v1/nodes",
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}},
        )
        make(plane, f"{CILIUM}/ciliumnodes", "CiliumNode", name, spec={})

        def filled(name: str = name) -> Any:
            found = plane.request("GET", f"{CILIUM}/ciliumnodes/{name}")
            return (found["spec"].get("ipam") or {}).get("podCIDRs")

        eventually(filled)

    def error() -> str:
        found = plane.request("GET", f"{CILIUM}/ciliumnodes/full2")
        status = (found.get("status") or {}).get("ipam") or {}
        return str((status.get("operator-status") or {}).get("error", ""))

    assert "no free IPv4 pod CIDR left in 10.200.0.0/24" in eventually(error)
    events = plane.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    assert any(
        event["reason"] == "PodCIDRNotAllocated" and event["regarding"]["name"] == "full2"
        for event in events
    )
    plane.request("DELETE", "/api/v1/nodes/full1")
    eventually(lambda: not error())
    found = plane.request("GET", f"{CILIUM}/ciliumnodes/full2")
    assert sorted(found["spec"]["ipam"]["podCIDRs"]) == ["10.200.0.0/24", "fd00:200::100/120"]


def test_the_second_replica_takes_over(
    plane: Any, operator: Any, second_operator: Any, tmp_path: Path
) -> None:
    operator.start()

    def holder() -> str:
        lease = plane.request("GET", LEASE)
        return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")

    eventually(lambda: "became leader" in operator.log.read_text())
    first = holder()
    second_operator.start()
    time.sleep(4)
    assert holder() == first
    operator.kill()
    eventually(lambda: holder() not in ("", first), 15)
    assert second_operator.end() == 0
    assert holder() == ""


def test_an_older_schema_is_replaced_and_a_newer_one_kept(plane: Any, operator: Any) -> None:
    operator.start()
    eventually(lambda: established(plane, "ciliumnodes"))
    operator.kill()
    base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    merge = "application/merge-patch+json"
    label = "io.cilium.k8s.crd.schema.version"
    columns = [{"name": "Old", "jsonPath": ".kind", "type": "string"}]
    for name, version in (("ciliumnodes", "1.2.3"), ("ciliumendpoints", "99.0.0")):
        path = f"{base}/{name}.cilium.io"
        spec = plane.request("GET", path)["spec"]
        spec["versions"][0]["additionalPrinterColumns"] = columns
        body = {"metadata": {"labels": {label: version}}, "spec": {"versions": spec["versions"]}}
        plane.request("PATCH", path, body, merge)
    operator.start()

    def shown(name: str) -> list[str]:
        body = plane.request("GET", f"{base}/{name}.cilium.io")
        return [c["name"] for c in body["spec"]["versions"][0]["additionalPrinterColumns"]]

    # The chart's rules let the operator change those two definitions only by name.
    eventually(lambda: shown("ciliumnodes") == ["CiliumInternalIP", "InternalIP", "Age"])
    assert shown("ciliumendpoints") == ["Old"]
    plane.request("DELETE", f"{base}/ciliumendpoints.cilium.io")
