# SPDX-License-Identifier: Apache-2.0
"""The operator as a process against a real API server, with the chart's RBAC."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

CILIUM = "/apis/cilium.io/v2"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TAINT = "node.cilium.io/agent-not-ready"


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until check() is true-ish and return it."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {check}"
        time.sleep(0.1)


def make_node(plane: Any, name: str, address: str) -> None:
    taint = {"key": TAINT, "value": "true", "effect": "NoSchedule"}
    other = {"key": "example.com/kept", "effect": "NoSchedule"}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": [other, taint]},
    }
    plane.request("POST", "/api/v1/nodes", body)
    status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
    merge = "application/merge-patch+json"
    plane.request("PATCH", f"/api/v1/nodes/{name}/status", status, merge)


def make_cilium_node(plane: Any, name: str) -> None:
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": name},
        "spec": {"addresses": [{"type": "InternalIP", "ip": "192.0.2.1"}]},
    }
    plane.request("POST", f"{CILIUM}/ciliumnodes", body)


def cidrs(plane: Any, name: str) -> list[str]:
    node = plane.request("GET", f"{CILIUM}/ciliumnodes/{name}")
    found: list[str] = ((node or {}).get("spec", {}).get("ipam") or {}).get("podCIDRs") or []
    return found


def both(plane: Any, name: str) -> list[str]:
    found = cidrs(plane, name)
    return found if len(found) == 2 else []


def make_agent(plane: Any, node: str, ready: bool) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"cilium-{node}",
            "namespace": "kube-system",
            "labels": {"k8s-app": "cilium"},
        },
        "spec": {"nodeName": node, "containers": [{"name": "cilium-agent", "image": "x"}]},
    }
    pods = "/api/v1/namespaces/kube-system/pods"
    plane.request("POST", pods, body)
    set_ready(plane, node, ready)


def set_ready(plane: Any, node: str, ready: bool) -> None:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    path = f"/api/v1/namespaces/kube-system/pods/cilium-{node}/status"
    body = {"status": {"phase": "Running", "conditions": [condition]}}
    plane.request("PATCH", path, body, "application/merge-patch+json")


def taints(plane: Any, node: str) -> list[str]:
    spec = plane.request("GET", f"/api/v1/nodes/{node}")["spec"]
    return [taint["key"] for taint in spec.get("taints", [])]


def test_definitions_are_registered_and_validate(plane: Any, operator: Any) -> None:
    operator.start()
    names = [item["metadata"]["name"] for item in _wait_definitions(plane)]
    assert len(names) == 6
    policies = f"{CILIUM}/namespaces/default/ciliumnetworkpolicies"
    empty = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}
    with pytest.raises(AssertionError, match="either spec or specs must be set"):
        plane.request("POST", policies, {**empty, "metadata": {"name": "none"}})
    nodes = {"nodeSelector": {}, "ingress": [{"fromEntities": ["all"]}]}
    for kind in ({"spec": nodes}, {"specs": [nodes]}):
        with pytest.raises(AssertionError, match="the host firewall is not available yet"):
            plane.request("POST", policies, {**empty, "metadata": {"name": "nodes"}, **kind})
    article = json.loads(Path(__file__).with_name("l7-visibility.json").read_text())
    article["metadata"]["namespace"] = "default"
    stored = plane.request("POST", policies, article)
    assert stored["spec"] == article["spec"]
    eventually(lambda: "became leader" in operator.log.read_text())
    assert operator.end() == 0


def _wait_definitions(plane: Any) -> list[Any]:
    def established() -> list[Any]:
        items = plane.request("GET", CRDS)["items"]
        ready = [
            item
            for item in items
            if any(
                c["type"] == "Established" and c["status"] == "True"
                for c in (item.get("status") or {}).get("conditions") or ()
            )
        ]
        return ready if len(ready) == 6 else []

    return list(eventually(established))


def test_nodes_get_and_keep_cidrs_across_kill(plane: Any, operator: Any) -> None:
    operator.start()
    _wait_definitions(plane)
    for number in (1, 2):
        make_node(plane, f"ipam{number}", f"172.30.0.{number}")
        make_cilium_node(plane, f"ipam{number}")
    first = eventually(lambda: both(plane, "ipam1"))
    second = eventually(lambda: both(plane, "ipam2"))
    assert {*first, *second} == {"10.0.0.0/24", "10.0.1.0/24", "fd00::/120", "fd00::100/120"}
    operator.kill()
    operator.start()
    make_node(plane, "ipam3", "172.30.0.3")
    make_cilium_node(plane, "ipam3")
    third = eventually(lambda: both(plane, "ipam3"))
    assert third == ["10.0.2.0/24", "fd00::200/120"]
    assert (cidrs(plane, "ipam1"), cidrs(plane, "ipam2")) == (first, second)
    plane.request("DELETE", "/api/v1/nodes/ipam1")
    path = f"{CILIUM}/ciliumnodes/ipam1"
    eventually(lambda: plane.request("GET", path) is None)
    make_node(plane, "ipam4", "172.30.0.4")
    make_cilium_node(plane, "ipam4")
    assert eventually(lambda: both(plane, "ipam4")) == first
    assert operator.end() == 0
    lease = plane.request(
        "GET",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/cilium-operator-resource-lock",
    )
    assert not lease["spec"].get("holderIdentity")


def test_taint_and_condition_follow_the_agent(plane: Any, operator: Any) -> None:
    operator.start()
    _wait_definitions(plane)
    make_node(plane, "taint1", "172.30.0.21")
    make_agent(plane, "taint1", ready=False)
    time.sleep(2)
    assert TAINT in taints(plane, "taint1")
    pod_before = plane.request("GET", "/api/v1/namespaces/kube-system/pods/cilium-taint1")
    set_ready(plane, "taint1", True)
    eventually(lambda: TAINT not in taints(plane, "taint1"))
    assert "example.com/kept" in taints(plane, "taint1")
    conditions = eventually(
        lambda: plane.request("GET", "/api/v1/nodes/taint1")["status"].get("conditions")
    )
    assert [(c["type"], c["status"], c["reason"]) for c in conditions] == [
        ("NetworkUnavailable", "False", "CiliumIsUp")
    ]
    set_ready(plane, "taint1", False)
    eventually(lambda: TAINT in taints(plane, "taint1"))
    pod = plane.request("GET", "/api/v1/namespaces/kube-system/pods/cilium-taint1")
    for key in ("annotations", "finalizers", "labels"):
        assert pod["metadata"].get(key) == pod_before["metadata"].get(key)


def test_objects_of_others_are_never_patched(plane: Any, operator: Any) -> None:
    operator.start()
    _wait_definitions(plane)
    make_node(plane, "plain1", "172.30.0.31")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }
    plane.request("POST", "/api/v1/namespaces/default/services", service)
    make_agent(plane, "plain1", ready=True)
    make_cilium_node(plane, "plain1")
    eventually(lambda: both(plane, "plain1"))
    eventually(lambda: TAINT not in taints(plane, "plain1"))
    time.sleep(2)
    node = plane.request("GET", "/api/v1/nodes/plain1")["metadata"]
    pod = plane.request("GET", "/api/v1/namespaces/kube-system/pods/cilium-plain1")["metadata"]
    seen = plane.request("GET", "/api/v1/namespaces/default/services/plain")["metadata"]
    ours = plane.request("GET", f"{CILIUM}/ciliumnodes/plain1")["metadata"]
    for metadata in (node, pod, seen, ours):
        assert "finalizers" not in metadata
        assert "annotations" not in metadata
    written = {entry["manager"]: entry["fieldsV1"] for entry in node["managedFields"]}
    operator_fields = [
        entry for entry in node["managedFields"] if "Python-urllib" not in entry["manager"]
    ]
    assert operator_fields, written
    for entry in operator_fields:
        assert set(entry["fieldsV1"]) <= {"f:spec", "f:status"}
        assert set(entry["fieldsV1"].get("f:spec", {})) <= {"f:taints"}
        assert set(entry["fieldsV1"].get("f:status", {})) <= {"f:conditions"}
    for metadata in (pod, seen):
        managers = {entry["manager"] for entry in metadata["managedFields"]}
        assert all("urllib" in manager for manager in managers), managers


def is_answering(fetch: Callable[[str, str], str]) -> bool:
    try:
        fetch("operator-api-serve-addr", "/healthz")
        fetch("operator-prometheus-serve-addr", "/metrics")
    except OSError:
        return False
    return True


def test_health_and_metrics_answer(plane: Any, operator: Any, tmp_path: Path) -> None:
    operator.start()
    _wait_definitions(plane)
    config = tmp_path / "config"

    def fetch(key: str, path: str) -> str:
        address = (config / key).read_text()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as response:
            return str(response.read().decode())

    assert eventually(lambda: is_answering(fetch))
    assert fetch("operator-api-serve-addr", "/healthz") == "ok"

    def scraped() -> str:
        text = fetch("operator-prometheus-serve-addr", "/metrics")
        return text if 'identity_gc_runs{identity_type="crd",outcome="success"} 1.0' in text else ""

    text = eventually(scraped)
    assert 'cilium_operator_ipam_podcidrs_available{family="ipv4"}' in text
    assert "cilium_operator_controllers_group_runs_total" in text
