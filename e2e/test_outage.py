# SPDX-License-Identifier: Apache-2.0
"""The API server hangs for two minutes, then dies: nothing that runs may notice.

A process that is stopped (SIGSTOP) is the worst kind of away: connections stay open and nobody
answers. All agents are killed meanwhile and have nothing but their node to start from.
`OUTAGE_SECONDS` makes it shorter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.churn import maps
from e2e.churn.judge import Judge
from e2e.cluster import Cluster
from e2e.cluster.errors import CommandFailed
from e2e.kube import Kube, KubeError, probe_pod, processes, until
from e2e.load import Load
from e2e.load import places as load_places

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "120"))
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300 + SECONDS, func_only=True),
    pytest.mark.xdist_group("breaks"),
]
NODES = ("node1", "node2", "node3")
AFTER_SECONDS = 15.0
ENFORCED_SECONDS = 10.0


@contextmanager
def _outage(kube: Kube) -> Iterator[None]:
    """The API server answers nobody; afterwards a new process answers."""
    pids = processes("kube-apiserver")
    assert pids, "no API server runs on this machine"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until("the API server answers again", lambda: _answers(kube), 60)


def _deny(namespace: str, app: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"deny-{app}", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"]},
    }


def _target(address: str) -> str:
    return f"[{address}]:7000" if ":" in address else f"{address}:7000"


def _pods(kube: Kube) -> dict[str, tuple[str, int]]:
    """Every pod with its uid and how often its containers were restarted, but for the agents'."""
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": (
            item["metadata"]["uid"],
            sum(status["restartCount"] for status in item["status"].get("containerStatuses", [])),
        )
        for item in kube.json("get", "pods", "-A")["items"]
        if item["metadata"]["labels"].get("k8s-app") != "cilium"
        and item["metadata"]["labels"].get("io.cilium/app") != "operator"
    }


def _nothing_leaves(kube: Kube) -> bool:
    """No namespace of an earlier test is on its way out: its pods are unmarked for a moment."""
    spaces = kube.json("get", "namespaces")["items"]
    return not any(item["metadata"].get("deletionTimestamp") for item in spaces)


def _answers(kube: Kube) -> bool:
    try:
        return kube.kubectl("get", "--raw", "/readyz", timeout=5) == "ok"
    except (KubeError, subprocess.TimeoutExpired):
        return False


def _kill_agents(cluster: Cluster) -> dict[str, int]:
    """kill -9 the agent of each node; the new processes."""
    found = {}
    for node in NODES:
        netns = cluster.node_netns(node)
        before = processes("cilium-agent", netns)
        assert before, node
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(
            f"a new agent on {node}",
            lambda netns=netns, before=before: bool(  # type: ignore[misc]
                {*processes("cilium-agent", netns)} - {*before}
            ),
            30,
        )
        found[node] = max({*processes("cilium-agent", netns)} - {*before})
    return found


def _read(cluster: Cluster, node: str) -> maps.NodeMaps:
    """A node's maps, once its agent answers: it does so before it knows the API server."""
    held: list[maps.NodeMaps] = []

    def answered() -> bool:
        try:
            held.append(maps.read(cluster, node))
        except CommandFailed:
            return False
        return True

    until(f"the agent of {node} answers", answered, 30, 0.5)
    return held[0]


def test_nothing_notices_that_the_api_server_is_away(
    cluster: Cluster, kube: Kube, namespace: str
) -> None:
    places = load_places(kube, namespace)
    kube.apply(_deny(namespace, "shut"), probe_pod(namespace, "shut", "node2"))
    kube.wait_ready(namespace, "shut")
    forbidden = [_target(address) for address in kube.pod_addresses(namespace, "shut")]
    words = [word for target in forbidden for word in ("--target", target)]
    judge = Judge(cluster, kube)
    until("earlier namespaces are gone", lambda: _nothing_leaves(kube), 90, 1.0)
    until("all is quiet", judge.agrees, 60, 1.0)
    pods, before = _pods(kube), {node: maps.read(cluster, node) for node in NODES}

    running = Load(kube, namespace, places, SECONDS + 5)
    tries = str(int(SECONDS))
    kube.detach_probe(
        *(namespace, "client", "forbidden", "tcp", *words, "--summary"),
        *("--count", tries, "--rate", "1", "--timeout", "1"),
    )
    with _outage(kube):
        begun = time.monotonic()
        assert not _answers(kube)
        time.sleep(min(10.0, SECONDS / 4))
        agents = _kill_agents(cluster)
        for node in NODES:
            assert _read(cluster, node) == before[node], f"{node} lost what its kernel held"
        time.sleep(max(0.0, begun + SECONDS - time.monotonic()))
        for node, pid in agents.items():
            assert pid in processes("cilium-agent", cluster.node_netns(node)), "it did not wait"

    begun = time.monotonic()
    kube.apply(_deny(namespace, "near"))
    tries_near = [
        {"kind": kind, "target": _target(address), "timeout": 1}
        for address in places["near"]
        for kind in ("tcp", "udp")
    ]
    # The agents list everything first, as after any start.
    until(
        "a change of policy is enforced",
        lambda: not any(o["ok"] for o in kube.matrix(namespace, "far", tries_near)),
        AFTER_SECONDS + ENFORCED_SECONDS,
    )
    print(
        f"after {SECONDS:.0f} s without an API server a new policy was enforced"
        f" {time.monotonic() - begun:.1f} s after it answered"
    )
    kube.kubectl("-n", namespace, "delete", "networkpolicy", "deny-near")
    running.judge("API server away")
    found = kube.detached_result(namespace, "client", "forbidden", 60)
    assert (found["ok"], found["sent"] > 0) == (0, True), found
    assert _pods(kube) == pods, "pods were restarted or replaced"
