# SPDX-License-Identifier: Apache-2.0
"""Pods come and go while agents are killed: no address twice, no link or endpoint left over."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from e2e.cluster import Cluster
from e2e.kube import Kube, probe_pod, processes, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
    pytest.mark.xdist_group("breaks"),
]
PODS = 24
NODES = ("node1", "node2", "node3")


def _links(cluster: Cluster) -> dict[str, int]:
    """Pod links per node."""
    found = {}
    for node in NODES:
        lines = cluster.node_exec(node, ["ip", "-o", "link"]).splitlines()
        found[node] = sum(line.split(": ")[1].startswith("lxc") for line in lines)
    return found


def _kill_agents(cluster: Cluster) -> int:
    """kill -9 every agent that runs; how many."""
    killed = 0
    for node in NODES:
        for pid in processes("cilium-agent", cluster.node_netns(node)):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def _pods_per_node(kube: Kube) -> dict[str, int]:
    """Pods with an address of their own, per node."""
    pods = kube.json("get", "pods", "-A")["items"]
    counted = Counter(
        pod["spec"]["nodeName"]
        for pod in pods
        if not pod["spec"].get("hostNetwork") and pod["status"]["phase"] == "Running"
    )
    return {node: counted[node] for node in NODES}


def _leaving(kube: Kube) -> list[str]:
    """Pods that are being deleted, or will be with their namespace: their links go later."""
    return [
        found["metadata"]["name"]
        for kind in (("namespaces",), ("pods", "-A"))
        for found in kube.json("get", *kind)["items"]
        if found["metadata"].get("deletionTimestamp")
    ]


def test_churn_under_killed_agents(cluster: Cluster, kube: Kube, namespace: str) -> None:
    names = [f"churn-{number}" for number in range(PODS)]
    until("pods that other tests left are gone", lambda: not _leaving(kube), 90, 2.0)
    until("every pod has one link", lambda: _links(cluster) == _pods_per_node(kube), 60, 2.0)
    before = _links(cluster)

    kube.apply(*(probe_pod(namespace, n, NODES[i % 3]) for i, n in enumerate(names)))
    killed = 0
    for _ in range(3):
        time.sleep(0.7)
        killed += _kill_agents(cluster)
    assert killed >= len(NODES)
    took = kube.wait_ready(namespace, *names, timeout=120)
    print(f"{PODS} pods were Ready after {took:.1f} s with {killed} agents killed meanwhile")

    pods = kube.json("-n", namespace, "get", "pods")["items"]
    addresses = [entry["ip"] for pod in pods for entry in pod["status"]["podIPs"]]
    assert len(addresses) == 2 * PODS
    assert len(set(addresses)) == len(addresses)
    assert _links(cluster) == {name: count + PODS // 3 for name, count in before.items()}

    kube.kubectl("-n", namespace, "delete", "pods", *names, "--wait=false")
    killed = 0
    for _ in range(3):
        time.sleep(0.5)
        killed += _kill_agents(cluster)
    took = until("the pods' links are gone", lambda: _links(cluster) == before, 120, 1.0)
    print(f"their links were gone after {took:.1f} s with {killed} agents killed meanwhile")
    until("the pods are gone", lambda: not kube.json("-n", namespace, "get", "pods")["items"], 60)
    until(
        "their CiliumEndpoints are gone",
        lambda: not kube.json("-n", namespace, "get", "ciliumendpoints")["items"],
        60,
        1.0,
    )
