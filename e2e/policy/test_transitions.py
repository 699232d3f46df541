# SPDX-License-Identifier: Apache-2.0
"""When policies take hold: on what is established, on what starts, and when they go."""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e.kube import Kube, probe_pod, until
from e2e.policy.case import Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]
SOON = 5.0


def deny_ingress(namespace: str, app: str, name: str = "deny") -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"]},
    }


def deny_egress(namespace: str, app: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny-egress", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Egress"]},
    }


def targets(addresses: list[str]) -> list[dict[str, Any]]:
    hosts = [f"[{a}]" if ":" in a else a for a in addresses]
    return [{"kind": k, "target": f"{h}:7000", "timeout": 1} for h in hosts for k in ("tcp", "udp")]


@pytest.fixture(scope="module")
def pods(kube: Kube, namespace: str) -> dict[str, list[str]]:
    """A client and two servers, one beside it and one on another node; their addresses."""
    places = {"client": "node1", "near": "node1", "far": "node2"}
    kube.apply(*(probe_pod(namespace, name, node) for name, node in places.items()))
    kube.wait_ready(namespace, *places)
    return {name: kube.pod_addresses(namespace, name) for name in places}


@pytest.mark.parametrize("server", ["near", "far"])
def test_a_connection_older_than_the_deny_is_ended(
    kube: Kube, namespace: str, pods: dict[str, list[str]], server: str
) -> None:
    name = f"held-{server}"
    url = f"http://{pods[server][0]}:8080/"
    words = ("held", "--target", url, "--count", "60", "--rate", "10", "--timeout", "2")
    kube.detach_probe(namespace, "client", name, *words)
    time.sleep(1.5)
    kube.apply(deny_ingress(namespace, server))
    try:
        held = kube.detached_result(namespace, "client", name, 30)
        print(f"{held['ok']} of 60 requests passed before the deny took hold: {held['errors']}")
        assert 0 < held["ok"] < 40
        assert held["errors"]
        outcomes = kube.matrix(namespace, "client", targets(pods[server]))
        assert not any(outcome["ok"] for outcome in outcomes)
    finally:
        kube.kubectl("-n", namespace, "delete", "networkpolicy", "deny")
    took = until(
        "reached again without the policy",
        lambda: all(o["ok"] for o in kube.matrix(namespace, "client", targets(pods[server]))),
        SOON,
    )
    print(f"reached again {took:.1f} s after the policy went")


def test_a_policy_that_is_there_first_binds_a_pods_first_packet(
    kube: Kube, namespace: str, pods: dict[str, list[str]]
) -> None:
    """The pod tries from its first moment on, towards both nodes, and never gets through."""
    kube.apply(deny_egress(namespace, "early"))
    pod = probe_pod(namespace, "early", "node1")
    container = pod["spec"]["containers"][0]
    wanted = [word for a in (pods["near"][0], pods["far"][0]) for word in ("--target", f"{a}:7000")]
    container["command"] = [
        *("probe", "tcp", *wanted, "--count", "40", "--rate", "20", "--timeout", "1", "--summary")
    ]
    del container["readinessProbe"]
    pod["spec"]["restartPolicy"] = "Never"
    kube.apply(pod)
    phase = ("-n", namespace, "get", "pod", "early", "-o", "jsonpath={.status.phase}")
    until("the pod's end", lambda: kube.kubectl(*phase) in ("Succeeded", "Failed"), 60)
    logs = kube.kubectl("-n", namespace, "logs", "early")
    assert '"ok": 0' in logs, logs
    assert '"sent": 40' in logs, logs


def test_a_policy_binds_a_pod_that_starts_later_and_lets_its_probes_through(
    kube: Kube, namespace: str, pods: dict[str, list[str]]
) -> None:
    kube.apply(deny_ingress(namespace, "late", "deny-late"), probe_pod(namespace, "late", "node2"))
    kube.wait_ready(namespace, "late")  # by the kubelet's probe, from the node
    addresses = kube.pod_addresses(namespace, "late")
    for source in ("client", "far"):
        outcomes = kube.matrix(namespace, source, targets(addresses))
        assert not any(outcome["ok"] for outcome in outcomes), source


def test_a_pod_that_gets_a_forbidden_label_loses_its_connections(
    kube: Kube, namespace: str, pods: dict[str, list[str]]
) -> None:
    """The policy is there before, and another pod has the label: nothing but the pod changes."""
    policy = deny_ingress(namespace, "near", "quarantine")
    policy["spec"]["podSelector"] = {"matchLabels": {"quarantine": "yes"}}
    kube.apply(policy, probe_pod(namespace, "sick", "node1", {"quarantine": "yes"}))
    kube.wait_ready(namespace, "sick")
    url = f"http://{pods['near'][0]}:8080/"
    words = ("held", "--target", url, "--count", "80", "--rate", "10", "--timeout", "2")
    kube.detach_probe(namespace, "client", "sick", *words)
    label = ("-n", namespace, "label", "--overwrite", "pod", "near")
    time.sleep(1.5)
    kube.kubectl(*label, "quarantine=yes")
    try:
        held = kube.detached_result(namespace, "client", "sick", 30)
        print(f"{held['ok']} of 80 requests passed before the label took hold: {held['errors']}")
        assert 0 < held["ok"] < 60
        assert held["errors"]
    finally:
        kube.kubectl(*label, "quarantine-")
        kube.kubectl("-n", namespace, "delete", "networkpolicy", "quarantine")


def test_new_labels_are_judged_anew(kube: Kube, namespace: str, pods: dict[str, list[str]]) -> None:
    """A pod that gets the label of those who may is let in, and shut out when it loses it."""
    policy = deny_ingress(namespace, "near", "guests")
    policy["spec"]["ingress"] = [{"from": [{"podSelector": {"matchLabels": {"guest": "yes"}}}]}]
    kube.apply(policy)
    words = ("-n", namespace, "label", "--overwrite", "pod", "client")

    def reached() -> bool:
        return all(o["ok"] for o in kube.matrix(namespace, "client", targets(pods["near"])))

    try:
        until("shut out", lambda: not reached(), SOON)
        kube.kubectl(*words, "guest=yes")
        print(f"let in after {until('let in', reached, 15):.1f} s")
        kube.kubectl(*words, "guest-")
        until("shut out again", lambda: not reached(), 15)
    finally:
        kube.kubectl("-n", namespace, "delete", "networkpolicy", "guests")
