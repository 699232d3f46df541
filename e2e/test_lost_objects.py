# SPDX-License-Identifier: Apache-2.0
"""Objects of a node are deleted while no operator runs and its agent stands still: it makes them
again when it starts, with what they said, and what runs does not notice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from e2e.cluster import Cluster
from e2e.kube import Kube, processes, until
from e2e.load import Load
from e2e.load import places as load_places

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
    pytest.mark.xdist_group("breaks"),
]
NODE = "node2"  # of the load's pod `far`
SECONDS = 25.0
BACK_SECONDS = 30.0
OPERATOR = ("-n", "kube-system", "deployment/cilium-operator")


@pytest.fixture
def no_operator(kube: Kube) -> Iterator[None]:
    kube.kubectl("scale", "--replicas=0", *OPERATOR)
    try:
        until("the operator is gone", lambda: not processes("cilium-operator"), 60)
        yield
    finally:
        kube.kubectl("scale", "--replicas=1", *OPERATOR)
        kube.kubectl("rollout", "status", *OPERATOR, "--timeout=90s")


def _is_there(kube: Kube, *what: str) -> bool:
    return bool(kube.kubectl("get", "--ignore-not-found", "-o", "name", *what))


def _delete_unseen(cluster: Cluster, kube: Kube, *what: str) -> None:
    """Delete an object while the agent of NODE stands still, and kill that agent."""
    pids = processes("cilium-agent", cluster.node_netns(NODE))
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        kube.kubectl("delete", *what)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_a_restarted_agent_makes_what_was_lost_again(
    cluster: Cluster, kube: Kube, namespace: str, no_operator: None
) -> None:
    places = load_places(kube, namespace)
    endpoint = ("-n", namespace, "ciliumendpoint", "far")
    number = str(kube.json("get", *endpoint)["status"]["identity"]["id"])
    lost = (("ciliumnode", NODE), endpoint, ("ciliumidentity", number))
    before = {what: kube.json("get", *what) for what in lost}
    running = Load(kube, namespace, places, SECONDS)

    for what in lost:
        _delete_unseen(cluster, kube, *what)
        took = until(f"{what[-2]} is there again", lambda w=what: _is_there(kube, *w), BACK_SECONDS)
        print(f"{what[-2]} {what[-1]} was there again after {took:.1f} s")

    for part in ("spec", "status", "security-labels"):
        for what in lost:
            held = kube.json("get", *what)
            if what[0] != "ciliumnode" or part == "spec":  # a node's status is the operator's
                assert held.get(part) == before[what].get(part), what
    running.judge("lost objects")
