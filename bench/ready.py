# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=ready`: from `helm install` to a cluster that is ready, on the real cluster.

Each round installs on three nodes without any network and ends when every Node is Ready and all
pods of the system and the cluster's DNS are; images are on the nodes already. Then one agent is
killed, with no pod and with 100 on its node, and its way back to ready and its memory are taken.
A cluster that was up is left up, with the system on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import Result, bound, publish
from e2e import system
from e2e.cluster import Cluster, node_config
from e2e.kube import processes

ROUNDS = int(os.environ.get("BENCH_INSTALLS", "3"))
RESTARTS = 3
PODS = 100
NODE, NODES = "node3", 3
NAMESPACE = "bench-ready"
WORKLOADS = ("daemonset/cilium", "deployment/cilium-operator", "deployment/coredns")
HEALTH = "http://127.0.0.1:9879/healthz"
PAUSE = 0.1


def run() -> None:
    """Measure on the cluster, bringing it up when it is not, and publish."""
    cluster = Cluster()
    was_up = bool(cluster.nodes)
    cluster.up(nodes=NODES)
    cluster.load_images()
    try:
        publish("ready", [*_installs(cluster), *_agent(cluster)])
    finally:
        if not was_up:
            cluster.down()


def _until(done: Callable[[], bool], what: str, seconds: float = 180.0) -> float:
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(PAUSE)
    return time.monotonic() - begun


def _installs(cluster: Cluster) -> list[Result]:
    helm, nodes, all_of_it = [], [], []
    for number in range(ROUNDS):
        _uninstall(cluster)
        begun = time.monotonic()
        system.install(cluster)
        helm.append(time.monotonic() - begun)
        _until(lambda: _nodes_ready(cluster), "all Nodes are Ready")
        nodes.append(time.monotonic() - begun)
        _until(lambda: _available(cluster), "all pods of the system are Available")
        all_of_it.append(time.monotonic() - begun)
        print(f"install {number + 1} of {ROUNDS}: ready after {all_of_it[-1]:.1f} s", flush=True)
    return [
        bound("helm install returns", helm, "s"),
        bound(f"{NODES} Nodes Ready", nodes, "s", note="since the start of helm install"),
        bound("all pods Available", all_of_it, "s", note="since the start of helm install"),
    ]


def _uninstall(cluster: Cluster) -> None:
    """No system, no pod that had its network, and no Node that is Ready: the kubelet takes a
    moment to see it."""
    dns = ("-n", system.NAMESPACE, "scale", "deployment/coredns")
    cluster.kubectl(*dns, "--replicas=0")
    _until(lambda: not _get(cluster, "pods", "-l", "k8s-app=kube-dns"), "DNS is gone")
    listed = system.helm(cluster.kubeconfig, "list", "-n", system.NAMESPACE, "--all", "--short")
    if system.RELEASE in listed.split():
        system.helm(cluster.kubeconfig, "uninstall", system.RELEASE, "-n", system.NAMESPACE)
    _until(lambda: not _get(cluster, "pods", "-l", "k8s-app=cilium"), "the agents are gone")
    _until(lambda: not any(map(_is_ready, _get(cluster, "nodes"))), "no Node is Ready")
    cluster.kubectl(*dns, "--replicas=2")


def _get(cluster: Cluster, *what: str) -> list[dict[str, Any]]:
    text = cluster.kubectl("-n", system.NAMESPACE, "get", *what, "-o", "json")
    found: list[dict[str, Any]] = json.loads(text)["items"]
    return found


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _nodes_ready(cluster: Cluster) -> bool:
    return all(map(_is_ready, _get(cluster, "nodes")))


def _available(cluster: Cluster) -> bool:
    workloads = _get(cluster, *WORKLOADS)
    return all(map(_is_available, workloads)) and len(workloads) == len(WORKLOADS)


def _is_available(workload: dict[str, Any]) -> bool:
    status = workload["status"]
    wanted = workload["spec"].get("replicas", status.get("desiredNumberScheduled", 0))
    here = status.get("numberAvailable", status.get("availableReplicas", 0))
    return bool(wanted > 0 and here == wanted)


def _agent(cluster: Cluster) -> list[Result]:
    results = _restarts(cluster, 0)
    _run_pods(cluster)
    try:
        results += _restarts(cluster, PODS)
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    return results


def _run_pods(cluster: Cluster) -> None:
    container = {"name": "pause", "image": node_config.PAUSE_IMAGE, "imagePullPolicy": "Never"}
    spec = {"nodeName": NODE, "containers": [container], "terminationGracePeriodSeconds": 0}
    names = [f"pod-{number}" for number in range(PODS)]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        for name in names
    ]
    cluster.kubectl("create", "namespace", NAMESPACE)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=text)
    wait = ("wait", "--for=condition=Ready", "--timeout=300s", "pod", "--all")
    cluster.kubectl("-n", NAMESPACE, *wait, timeout=310)


def _restarts(cluster: Cluster, pods: int) -> list[Result]:
    netns = cluster.node_netns(NODE)
    times, memory = [], []
    for _ in range(RESTARTS):
        new = _killed(netns)
        times.append(_until(lambda: _is_healthy(netns), "the agent is ready", 60))
        time.sleep(3.0)  # what a start leaves behind is given back
        memory.append(_rss_mib(new))
    return [
        bound(f"agent start to ready, {pods} pods", times, "s", 5.0),
        bound(f"agent memory, {pods} pods", memory, "MiB", 150.0 if pods else None),
    ]


def _agent_pid(netns: Path) -> int:
    return max(processes("cilium-agent", netns), default=0)


def _killed(netns: Path) -> int:
    """kill -9; the new agent's pid in its first moment: the time before it is the kubelet's."""
    old = _agent_pid(netns)
    os.kill(old, signal.SIGKILL)
    _until(lambda: _agent_pid(netns) not in (0, old), "a new agent", 60)
    return _agent_pid(netns)


def _is_healthy(netns: Path) -> bool:
    ask = ["nsenter", f"--net={netns}", "curl", "-sf", "-o", "/dev/null", "-m", "2", HEALTH]
    return subprocess.run(ask, check=False).returncode == 0


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")
