# SPDX-License-Identifier: Apache-2.0
"""Traffic goes on while processes die, and pods start again soon after.

Each test puts the same load on the data path (`e2e.load`: both families, kept and new connections,
a transfer that lasts as long) while it breaks something. Nothing may be reset or lost, and the
longest stall is printed and bounded.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.cluster import Cluster
from e2e.kube import Kube, probe_pod, processes, until
from e2e.load import Load
from e2e.load import places as load_places

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(420, func_only=True),
    pytest.mark.xdist_group("breaks"),
]

NODES = ("node1", "node2", "node3")
KILLS, KILL_SECONDS = 20, 90.0
# Seconds after a process was seen: between them they lie in each step of a start.
EARLY = (0.0, 0.3, 0.6, 0.9, 1.2)


@pytest.fixture(scope="module")
def places(kube: Kube, namespace: str) -> dict[str, list[str]]:
    """The load's pods and their addresses."""
    return load_places(kube, namespace)


@pytest.fixture
def load(kube: Kube, namespace: str, places: dict[str, list[str]]) -> Callable[[float], Load]:
    """Start the load so that it lasts that many seconds."""
    return lambda seconds: Load(kube, namespace, places, seconds)


@contextmanager
def new_pods_soon(kube: Kube, namespace: str, name: str, seconds: float) -> Iterator[None]:
    """After the block a new pod on every node becomes Ready within so many seconds."""
    yield
    names = [f"{name}-{node}" for node in NODES]
    kube.apply(*(probe_pod(namespace, pod, node) for pod, node in zip(names, NODES, strict=True)))
    took = kube.wait_ready(namespace, *names)
    print(f"new pods on {len(names)} nodes were Ready after {took:.1f} s")
    kube.kubectl("-n", namespace, "delete", "pod", *names, "--wait=true", "--timeout=60s")
    assert took < seconds


@dataclass(frozen=True)
class Target:
    """A program that is killed: its health port, and its node's network namespace if given."""

    program: str
    port: int
    netns: Path | None = None

    def pid(self, deadline: float, other_than: int = 0) -> int:
        """The running process, waited for; a killed one may be seen for some milliseconds."""
        while not (running := {*processes(self.program, self.netns)} - {other_than}):
            assert time.monotonic() < deadline, f"{self.program} did not come back in time"
            time.sleep(0.05)
        return min(running)

    def ready(self, pid: int) -> bool:
        """Whether that process says that it is ready."""
        url = f"http://127.0.0.1:{self.port}/healthz"
        ask = ("nsenter", "-t", str(pid), "-n", "curl", "-sf", "-o", "/dev/null", "-m", "2", url)
        return subprocess.run(ask, check=False).returncode == 0

    def pid_when_ready(self, deadline: float) -> int:
        """The process once it is ready, waited for."""
        while True:
            pid = self.pid(deadline)
            if self.ready(pid):
                return pid
            assert time.monotonic() < deadline, f"{self.program} was not ready in time"
            time.sleep(0.1)


@dataclass
class Kills:
    """How many processes were killed when ready and when starting, and when the last one was."""

    ready: int = 0
    starting: int = 0
    last: float = 0.0

    def kill(self, target: Target, pid: int) -> None:
        """kill -9 now."""
        was_ready = target.ready(pid)
        os.kill(pid, signal.SIGKILL)
        self.last = time.monotonic()
        self.ready += was_ready
        self.starting += not was_ready


def _kill_in_turn(cluster: Cluster, count: int, deadline: float) -> Kills:
    """kill -9 agents (node by node) and the operator in turn, each when ready and once more soon
    after its next start, so that restore, tables and deletions are all cut short somewhere."""
    targets = [Target("cilium-agent", 9879, cluster.node_netns(node)) for node in NODES]
    targets.append(Target("cilium-operator", 9234))
    kills = Kills()
    for number, target in enumerate(itertools.cycle(targets)):
        if kills.ready + kills.starting >= count:
            return kills
        first = target.pid_when_ready(deadline)
        kills.kill(target, first)
        again = target.pid(deadline, other_than=first)
        time.sleep(EARLY[number % len(EARLY)])
        kills.kill(target, again)
    return kills


def _agents_ready(kube: Kube) -> bool:
    status = kube.json("-n", "kube-system", "get", "daemonset", "cilium")["status"]
    operator = kube.json("-n", "kube-system", "get", "deployment", "cilium-operator")["status"]
    agents, operators = status.get("numberReady", 0), operator.get("readyReplicas", 0)
    return int(agents) == int(status["desiredNumberScheduled"]) and int(operators) >= 1


def test_agent_and_operator_killed_twenty_times(
    cluster: Cluster, kube: Kube, namespace: str, load: Callable[[float], Load]
) -> None:
    with new_pods_soon(kube, namespace, "after-kills", 30):
        running = load(KILL_SECONDS)
        kills = _kill_in_turn(cluster, KILLS, running.ends)
        ended = running.judge("20 x kill -9")
        left = ended - kills.last
        print(f"killed when ready {kills.ready}, starting {kills.starting}, {left:.1f} s to spare")
        assert left > 0, "the load must outlast the kills"
        assert kills.ready >= KILLS // 4
        assert kills.starting >= KILLS // 5
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
            cluster.restart_containerd(node)
        running.judge("containerd restart")


@contextmanager
def _without_dns(kube: Kube, node: str) -> Iterator[None]:
    """Cluster DNS runs on the other nodes, as after a drain.

    A node that goes without warning takes the DNS answers with it that its server owes, until the
    endpoints follow. That is no packet that this system lost, and the canary asks for each one.
    """
    kube.kubectl("cordon", node)
    try:
        where = ("-n", "kube-system", "-l", "k8s-app=kube-dns")
        here = f"--field-selector=spec.nodeName={node}"
        # Deleted pods go on answering for 5 s, and are gone when this returns.
        kube.kubectl("delete", "pods", *where, here, "--wait=true", "--timeout=60s")
        kube.kubectl(
            *("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s")
        )
        yield
    finally:
        kube.kubectl("uncordon", node)


def test_node_reboot(cluster: Cluster, kube: Kube, namespace: str, places: object) -> None:
    """node3 (without canary) is powered off and on: its pods come back and are reached."""
    name, node = "rebooted", NODES[2]
    kube.apply(probe_pod(namespace, name, node))
    kube.wait_ready(namespace, name)
    started = _started(kube, namespace, name)
    with _without_dns(kube, node):
        begun = time.monotonic()
        cluster.reboot(node)
        until(
            "the pod started anew",
            lambda: _started(kube, namespace, name) not in ("", started),
            150,
        )
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
