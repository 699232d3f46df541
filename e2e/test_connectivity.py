# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom: pods, Services, names, nodes and the outside, over both families."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.cluster import Cluster, spec
from e2e.kube import Kube, probe_pod, probe_service, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]
NODES = ("node1", "node2")


@dataclass(frozen=True)
class Net:
    """Three pods: `a` and `b` on node1, `c` on node2, each behind a Service of its name."""

    namespace: str
    pods: dict[str, list[str]]
    services: dict[str, list[str]]


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def tries(address: str, http_port: int, **members: Any) -> list[dict[str, Any]]:
    """TCP, UDP and HTTP to one address or name."""
    where = host(address)
    return [
        {"kind": "tcp", "target": f"{where}:7000", "id": address, **members},
        {"kind": "udp", "target": f"{where}:7000", "id": address, **members},
        {"kind": "http", "target": f"http://{where}:{http_port}/", "id": address},
    ]


def failures(outcomes: list[Any]) -> list[Any]:
    return [outcome for outcome in outcomes if not outcome["ok"]]


@pytest.fixture(scope="module")
def net(kube: Kube, namespace: str) -> Net:
    places = {"a": "node1", "b": "node1", "c": "node2"}
    kube.apply(
        *(probe_pod(namespace, name, node) for name, node in places.items()),
        *(probe_service(namespace, f"{name}-svc", name) for name in places),
    )
    kube.wait_ready(namespace, *places)
    services = {name: kube.service_addresses(namespace, f"{name}-svc") for name in places}
    found = Net(namespace, {name: kube.pod_addresses(namespace, name) for name in places}, services)
    until("endpoints of the Services", lambda: _backed(kube, namespace), 30)
    return found


def _backed(kube: Kube, namespace: str) -> bool:
    slices = kube.json("-n", namespace, "get", "endpointslices")["items"]
    ready = [s for s in slices if s.get("endpoints") and s["endpoints"][0]["conditions"]["ready"]]
    return len(ready) == 6


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """A serving probe on the host outside the cluster; its addresses."""
    child = cluster.outside_probe("serve")
    assert child.stdout is not None
    assert b"serving" in child.stdout.readline()
    yield cluster.outside_addresses
    child.terminate()
    child.wait(10)


def test_pods_have_both_families(net: Net) -> None:
    for addresses in (*net.pods.values(), *net.services.values()):
        assert [":" in address for address in addresses] == [False, True]


@pytest.mark.parametrize("source", ["a", "c"])
def test_pods_by_address(kube: Kube, net: Net, source: str) -> None:
    others = [ip for name, ips in net.pods.items() if name != source for ip in ips]
    elements = [element for address in others for element in tries(address, 8080)]
    outcomes = kube.matrix(net.namespace, source, elements)
    assert failures(outcomes) == []
    for outcome in outcomes:
        if outcome["kind"] == "http":
            seen = outcome["detail"]["body"]["client"].split()[0]
            assert seen in net.pods[source], "a pod's address must reach the other pod unchanged"


@pytest.mark.parametrize("source", ["a", "c"])
def test_services_by_address(kube: Kube, net: Net, source: str) -> None:
    elements = [element for ips in net.services.values() for ip in ips for element in tries(ip, 80)]
    outcomes = kube.matrix(net.namespace, source, elements)
    assert failures(outcomes) == []
    answered = {
        outcome["id"]: outcome["detail"]["body"]["pod"]
        for outcome in outcomes
        if outcome["kind"] == "http"
    }
    assert answered == {ip: name for name, ips in net.services.items() for ip in ips}


@pytest.mark.parametrize("source", ["a", "c"])
def test_services_by_name(kube: Kube, net: Net, source: str) -> None:
    names = ("b-svc", f"c-svc.{net.namespace}", f"a-svc.{net.namespace}.svc.cluster.local")
    elements = [element for name in names for element in tries(name, 80)]
    full = f"c-svc.{net.namespace}.svc.cluster.local"
    elements += [{"kind": "dns", "target": full, "family": family} for family in (4, 6)]
    outcomes = kube.matrix(net.namespace, source, elements)
    assert failures(outcomes) == []
    resolved = [o["detail"]["addresses"] for o in outcomes if o["kind"] == "dns"]
    assert resolved == [[address] for address in net.services["c"]]


def test_api_server_and_nodes_from_a_pod(kube: Kube, net: Net) -> None:
    targets = [f"{spec.SERVICE_API}:443", kube.api_server()]
    for node in NODES:
        targets += [f"{host(address)}:10250" for address in kube.node_addresses(node)]
    outcomes = kube.matrix(
        net.namespace, "a", [{"kind": "tcp", "target": t, "size": 0} for t in targets]
    )
    assert failures(outcomes) == []


@pytest.mark.parametrize("source", ["a", "c"])
def test_outside_sees_the_node(kube: Kube, net: Net, outside: tuple[str, str], source: str) -> None:
    node = NODES[0] if source == "a" else NODES[1]
    elements = [element for address in outside for element in tries(address, 8080)]
    outcomes = kube.matrix(net.namespace, source, elements)
    assert failures(outcomes) == []
    clients = [
        outcome["detail"]["body"]["client"].split()[0]
        for outcome in outcomes
        if outcome["kind"] == "http"
    ]
    assert clients == list(kube.node_addresses(node))


@pytest.mark.parametrize("node", NODES)
def test_nodes_reach_pods(cluster: Cluster, net: Net, node: str) -> None:
    elements = [element for ips in net.pods.values() for ip in ips for element in tries(ip, 8080)]
    out = cluster.node_probe(node, "matrix", stdin=json.dumps(elements), check=False)
    assert failures(json.loads(out)) == []


@pytest.mark.parametrize("size", [1, 1400, 1450, 1500, 9000, 65536, 1_000_000])
def test_every_size_of_write(kube: Kube, net: Net, size: int) -> None:
    elements = [
        {"kind": "tcp", "target": f"{host(ip)}:7000", "size": size, "timeout": 10}
        for name in ("b", "c")
        for ip in (*net.pods[name], *net.services[name])
    ]
    assert failures(kube.matrix(net.namespace, "a", elements)) == []


@pytest.mark.parametrize("size", [1, 1000, 1350])
def test_datagrams(kube: Kube, net: Net, size: int) -> None:
    elements = [
        {"kind": "udp", "target": f"{host(ip)}:7000", "size": size}
        for name in ("b", "c")
        for ip in (*net.pods[name], *net.services[name])
    ]
    assert failures(kube.matrix(net.namespace, "a", elements)) == []


def test_exec_logs_and_port_forward(kube: Kube, net: Net) -> None:
    words = ("-n", net.namespace)
    assert kube.kubectl(*words, "exec", "c", "--", "cat", "/etc/hostname").strip() == "c"
    assert "serving TCP" in kube.kubectl(*words, "logs", "c")
    child = subprocess.Popen(
        [str(kube.program), "--kubeconfig", str(kube.kubeconfig), *words]
        + ["port-forward", "pod/c", ":8080"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()  # Forwarding from 127.0.0.1:40113 -> 8080
        port = int(line.split(" -> ")[0].rpartition(":")[2])
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as response:
            assert json.load(response)["pod"] == "c"
    finally:
        child.terminate()
        child.wait(10)


@pytest.mark.parametrize("node", NODES)
def test_no_packet_filter_rule_but_masquerade(cluster: Cluster, net: Net, node: str) -> None:
    text = cluster.node_exec(node, ["nft", "-j", "list", "ruleset"])
    objects = json.loads(text)["nftables"]
    if os.environ.get("PROVIDER") == "kind":
        # There Docker and the kubelet keep rules of their own on each node.
        objects = [o for o in objects if any(v.get("table") == "cilium" for v in o.values())]
    chains = [element["chain"] for element in objects if "chain" in element]
    assert {chain.get("hook") for chain in chains} <= {"postrouting", None}, chains
    assert {chain.get("type") for chain in chains} <= {"nat", None}, chains
    rules = [element["rule"] for element in objects if "rule" in element]
    verdicts = {"masquerade", "snat", "accept", "return", "jump", "counter", "match"}
    for rule in rules:
        assert {next(iter(expression)) for expression in rule["expr"]} <= verdicts, rule
