# SPDX-License-Identifier: Apache-2.0
"""What policy decided is seen: by `hubble observe`, `cilium-dbg monitor`, status and counters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.kube import Kube, KubeError, probe_pod, until
from e2e.policy.case import Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]
# The agent's image has no curl.
SCRAPE = """
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:9962/metrics", timeout=5).read().decode())
"""
DENY: Object = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}


@pytest.fixture(scope="module")
def pods(kube: Kube, namespace: str) -> dict[str, list[str]]:
    """A client and a server that nobody may reach, both on node1."""
    meta = {"name": "shut", "namespace": namespace}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta}
    kube.apply({**policy, "spec": DENY})
    kube.apply(*(probe_pod(namespace, name, "node1") for name in ("client", "server")))
    kube.wait_ready(namespace, "client", "server")
    return {name: kube.pod_addresses(namespace, name) for name in ("client", "server")}


def agent(kube: Kube, node: str) -> tuple[str, ...]:
    """kubectl's words for a command in the agent's pod of a node."""
    words = ("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium")
    chosen = ("--field-selector", f"spec.nodeName={node}", "-o", "name")
    name = kube.kubectl(*words, *chosen).strip()
    return ("-n", "kube-system", "exec", name, "-c", "cilium-agent", "--")


def observe(kube: Kube, *words: str) -> list[Any]:
    out = kube.kubectl(*agent(kube, "node1"), "hubble", "observe", "-o", "json", *words)
    return [json.loads(line)["flow"] for line in out.splitlines() if '"flow"' in line]


def test_a_drop_is_a_flow_with_names_reason_and_policy(
    kube: Kube, namespace: str, pods: dict[str, list[str]]
) -> None:
    target = f"{pods['server'][0]}:7000"
    kube.probe(namespace, "client", "tcp", "--target", target, "--timeout", "1")

    def drops() -> list[Any]:
        return observe(kube, "--verdict", "DROPPED", "--to-pod", f"{namespace}/server", "--last=9")

    until("the drop is observed", lambda: bool(drops()), 10)
    flow = drops()[-1]
    assert flow["drop_reason_desc"] == "POLICY_DENIED"
    assert flow["traffic_direction"] == "INGRESS"
    assert flow["source"]["pod_name"] == "client"
    assert flow["destination"]["pod_name"] == "server"
    assert f"k8s:io.kubernetes.pod.namespace={namespace}" in flow["destination"]["labels"]
    assert flow["l4"]["TCP"]["destination_port"] == 7000
    assert flow["node_name"].endswith("node1")


def test_what_is_allowed_is_a_forwarded_flow(
    kube: Kube, namespace: str, pods: dict[str, list[str]]
) -> None:
    kube.probe(namespace, "server", "udp", "--target", f"{pods['client'][0]}:7000")
    wanted = ("--from-pod", f"{namespace}/server", "--protocol", "udp", "--last=20")
    until("the flow is observed", lambda: bool(observe(kube, *wanted)), 10)
    kinds = {(flow["verdict"], flow["event_type"]["type"]) for flow in observe(kube, *wanted)}
    assert ("FORWARDED", 4) in kinds
    assert observe(kube, *wanted, "--verdict", "DROPPED") == []


def test_a_filter_that_is_wrong_is_named(kube: Kube, pods: dict[str, list[str]]) -> None:
    with pytest.raises(KubeError, match="SOMETIMES"):
        observe(kube, "--verdict", "SOMETIMES")


def test_the_agents_own_views(kube: Kube, namespace: str, pods: dict[str, list[str]]) -> None:
    words = agent(kube, "node1")
    listed = json.loads(kube.kubectl(*words, "cilium-dbg", "endpoint", "list", "-o", "json"))
    by_name = {entry["status"]["external-identifiers"]["pod-name"]: entry for entry in listed}
    server, client = by_name[f"{namespace}/server"], by_name[f"{namespace}/client"]
    assert server["status"]["policy"]["realized"]["policy-enabled"] == "ingress"
    assert client["status"]["policy"]["realized"]["policy-enabled"] == "none"
    assert f"{namespace}/shut" in kube.kubectl(*words, "cilium-dbg", "policy", "get")
    rows = kube.kubectl(*words, "cilium-dbg", "bpf", "policy", "get", str(server["id"]))
    # Nobody may enter and all may leave: one row, as what is not allowed has none.
    directions = [line.split()[1] for line in rows.splitlines() if line.startswith("Allow")]
    assert directions == ["Egress"], rows
    metrics = kube.kubectl(*words, "python3", "-c", SCRAPE)
    dropped = [
        line
        for line in metrics.splitlines()
        if line.startswith('cilium_drop_count_total{direction="INGRESS",reason="Policy denied"}')
    ]
    assert dropped
    assert float(dropped[0].rpartition(" ")[2]) > 0


def test_status_of_a_policy_that_is_wrong_names_the_field(kube: Kube, namespace: str) -> None:
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "wrong", "namespace": namespace},
        "spec": {
            "endpointSelector": {},
            "egress": [{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["192.0.2.0/24"]}]}],
        },
    }
    kube.apply(policy)
    where = ("-n", namespace, "get", "ciliumnetworkpolicy", "wrong")

    def conditions() -> list[Any]:
        status = kube.json(*where).get("status") or {}
        return [c for c in status.get("conditions", []) if c["type"] == "Valid"]

    until("the condition", lambda: bool(conditions()), 15)
    (said,) = conditions()
    assert said["status"] == "False"
    assert "spec.egress[0].toCIDRSet[0].except[0]" in said["message"]
    kube.kubectl("-n", namespace, "delete", "ciliumnetworkpolicy", "wrong")
