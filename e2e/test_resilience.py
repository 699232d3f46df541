# SPDX-License-Identifier: Apache-2.0
"""Traffic goes on while processes die, and pods start again soon after.

Each test puts the same load on the data path (10 000 requests, kept and new connections, and a
transfer of 1 GiB that lasts as long) while it breaks something. Nothing may be reset or lost, and
the longest stall is printed and bounded.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from e2e import realtime
from e2e.cluster import Cluster, spec
from e2e.kube import Kube, probe_pod, processes, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(420, func_only=True),
    pytest.mark.xdist_group("breaks"),
]

STALL_MS = 200.0
GIB = 1 << 30
REQUESTS = 10_000
NODES = spec.nodes(3)
AGENT, OPERATOR = "cilium-agent", "cilium-operator"


@pytest.fixture(scope="module")
def places(kube: Kube, namespace: str) -> dict[str, str]:
    """Load pods: `client` and `near` on node1, `far` on node2; their names and addresses."""
    nodes = {"client": "node1", "near": "node1", "far": "node2"}
    kube.apply(*(probe_pod(namespace, name, node) for name, node in nodes.items()))
    kube.wait_ready(namespace, *nodes)
    return {name: kube.pod_addresses(namespace, name)[0] for name in nodes}


class Load:
    """The running load: three commands in the client pod, first in line for the CPU."""

    def __init__(self, kube: Kube, namespace: str, places: dict[str, str], seconds: float) -> None:
        self._kube, self._namespace = kube, namespace
        near, far = (f"http://{places[name]}:8080" for name in ("near", "far"))
        rate = str(REQUESTS / 2 / seconds)
        many = ("--count", str(REQUESTS // 2), "--rate", rate, "--timeout", "30")
        body = f"{far}/bytes?n={GIB}&rate={int(GIB / seconds)}"
        commands = {
            "kept": ("held", "--target", f"{far}/", *many),
            "new": ("http", "--target", f"{far}/", "--target", f"{near}/", "--summary", *many),
            "transfer": ("fetch", "--target", body),
        }
        serving = realtime.prefer_probes()
        for name, words in commands.items():
            kube.detach_probe(namespace, "client", name, *words)
        until(
            "the load's processes",
            lambda: len(realtime.prefer_probes() - serving) >= len(commands),
            20,
        )
        self._commands = tuple(commands)

    def judge(self, title: str) -> None:
        """Wait for the end; print the stalls, and assert that nothing was lost or stalled."""
        kept, new, transfer = (
            self._kube.detached_result(self._namespace, "client", name, 120)
            for name in self._commands
        )
        stalls = {
            "kept": kept["max_ms"],
            "new": new["max_ms"],
            "transfer": transfer["detail"]["longest_stall_ms"],
        }
        late = max(kept["schedule_late_ms"], new["schedule_late_ms"])
        print(f"{title}: longest stalls in ms {stalls}; the client itself was late by {late} ms")
        assert (kept["ok"], kept["errors"]) == (REQUESTS // 2, {})
        assert (new["ok"], new["errors"]) == (REQUESTS // 2, {})
        assert (transfer["ok"], transfer["detail"]["bytes"]) == (True, GIB)
        assert max(stalls.values()) < STALL_MS, stalls


@pytest.fixture
def load(kube: Kube, namespace: str, places: dict[str, str]) -> Callable[[float], Load]:
    """Start the load so that it lasts that many seconds."""
    return lambda seconds: Load(kube, namespace, places, seconds)


@contextmanager
def new_pods_soon(kube: Kube, namespace: str, name: str, seconds: float) -> Iterator[None]:
    """After the block a new pod on every node becomes Ready within so many seconds."""
    yield
    names = [f"{name}-{node.name}" for node in NODES]
    kube.apply(
        *(probe_pod(namespace, pod, node.name) for pod, node in zip(names, NODES, strict=True))
    )
    took = kube.wait_ready(namespace, *names)
    print(f"new pods on {len(names)} nodes were Ready after {took:.1f} s")
    kube.kubectl("-n", namespace, "delete", "pod", *names, "--wait=true", "--timeout=60s")
    assert took < seconds


def _kill_in_turn(count: int, deadline: float) -> int:
    """kill -9 agents (node by node) and the operator in turn; how many were killed by then."""
    targets = [(AGENT, node.netns) for node in NODES] + [(OPERATOR, None)]
    killed = 0
    for program, netns in itertools.cycle(targets):
        if killed == count or time.monotonic() > deadline:
            return killed
        running = processes(program, netns)
        if not running:
            time.sleep(0.1)
            continue
        os.kill(running[0], signal.SIGKILL)
        killed += 1
        time.sleep(1.0)
    return killed


def _agents_ready(kube: Kube) -> bool:
    status = kube.json("-n", "kube-system", "get", "daemonset", "cilium")["status"]
    operator = kube.json("-n", "kube-system", "get", "deployment", "cilium-operator")["status"]
    agents, operators = status.get("numberReady", 0), operator.get("readyReplicas", 0)
    return int(agents) == len(NODES) and int(operators) >= 1


def test_agent_and_operator_killed_twenty_times(
    kube: Kube, namespace: str, load: Callable[[float], Load]
) -> None:
    with new_pods_soon(kube, namespace, "after-kills", 30):
        running = load(45)
        assert _kill_in_turn(20, time.monotonic() + 60) == 20
        running.judge("20 x kill -9")
        took = until("agents and operator ready", lambda: _agents_ready(kube), 90)
        print(f"agents and operator were ready {took:.1f} s after the load")


def test_agent_roll_out(kube: Kube, namespace: str, load: Callable[[float], Load]) -> None:
    with new_pods_soon(kube, namespace, "after-roll-out", 30):
        running = load(30)
        kube.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/cilium")
        kube.kubectl(
            *("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=150s")
        )
        running.judge("agent roll-out")


def test_containerd_restart(
    cluster: Cluster, kube: Kube, namespace: str, load: Callable[[float], Load]
) -> None:
    with new_pods_soon(kube, namespace, "after-containerd", 30):
        running = load(20)
        for node in NODES[:2]:
            cluster.restart_containerd(node.name)
        running.judge("containerd restart")


def test_node_reboot(cluster: Cluster, kube: Kube, namespace: str, places: dict[str, str]) -> None:
    """node3 (without canary) is powered off and on: its pods come back and are reached."""
    name, node = "rebooted", NODES[2]
    kube.apply(probe_pod(namespace, name, node.name))
    kube.wait_ready(namespace, name)
    started = _started(kube, namespace, name)
    begun = time.monotonic()
    cluster.reboot(node.name)
    until("the pod started anew", lambda: _started(kube, namespace, name) not in ("", started), 150)
    kube.wait_ready(namespace, name, timeout=120)
    print(f"the pod was Ready again {time.monotonic() - begun:.1f} s after power-off")
    until("agents ready", lambda: _agents_ready(kube), 120)
    elements = []
    for address in kube.pod_addresses(namespace, name):
        where = f"[{address}]" if ":" in address else address
        elements += [{"kind": kind, "target": f"{where}:7000"} for kind in ("tcp", "udp")]
    until(
        "the rebooted node's pod is reached from another node",
        lambda: all(o["ok"] for o in kube.matrix(namespace, "far", elements)),
        30,
    )


def _started(kube: Kube, namespace: str, name: str) -> str:
    statuses = kube.json("-n", namespace, "get", "pod", name)["status"].get("containerStatuses")
    running = statuses[0]["state"].get("running", {}) if statuses else {}
    return str(running.get("startedAt", ""))
