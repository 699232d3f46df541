# SPDX-License-Identifier: Apache-2.0
"""What the agent and `cilium status` say of the proxies: alive, dead, and alive again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e import system
from e2e.cluster import Cluster
from e2e.golden.shapes import golden, missing
from e2e.kube import Kube, processes, until

# One group with the tests that change the release, so that none looks at it meanwhile.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("breaks")]
NODE = "node3"
SAID_SECONDS = 10.0
WELL_SECONDS = 45.0


def dbg(kube: Kube, node: str, *words: str) -> str:
    """Run `cilium-dbg` beside the agent of a node."""
    listed = kube.json(
        *("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium"),
        *("--field-selector", f"spec.nodeName={node}"),
    )
    pod = listed["items"][0]["metadata"]["name"]
    return kube.kubectl(
        *("-n", "kube-system", "exec", pod, "-c", "cilium-agent", "--", "cilium-dbg", *words)
    )


@contextmanager
def hung(pids: list[int]) -> Iterator[None]:
    """Processes that are there and do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_what_upstreams_cli_asks_for_keeps_its_keys(kube: Kube, emojivoto: str) -> None:
    assert (
        missing(json.loads(dbg(kube, "node1", "status", "-o", "json")), golden("dbg-status")) == []
    )
    listed = json.loads(dbg(kube, "node1", "endpoint", "list", "-o", "json"))
    assert missing(listed, golden("dbg-endpoint-list")) == []


def test_envoy_tells_its_admin_pages_to_root_of_the_node_only(kube: Kube, cluster: Cluster) -> None:
    assert json.loads(dbg(kube, NODE, "envoy", "admin", "server"))["state"] == "LIVE"
    mode = cluster.node_exec(
        NODE, ["stat", "-c", "%a %u", "/var/run/cilium/envoy/sockets/admin.sock"]
    )
    assert mode.split() == ["600", "0"]


def test_an_envoy_that_hangs_is_said_and_then_no_more(kube: Kube, cluster: Cluster) -> None:
    pids = processes("envoy", cluster.node_netns(NODE))
    assert pids, "no Envoy on the node"
    with hung(pids):
        begun = time.monotonic()
        until("the agent says it", lambda: _state(kube)["state"] != "Ok", SAID_SECONDS)
        print(f"an Envoy that hangs is said after {time.monotonic() - begun:.1f} s")
        told = system.cilium(cluster.kubeconfig, "status")
        assert f"Envoy does not answer (no answer in 2 s) on node {NODE}" in told
    until("all is well", lambda: _state(kube)["state"] == "Ok", SAID_SECONDS)


def test_an_envoy_that_is_killed_is_back_in_seconds(kube: Kube, cluster: Cluster) -> None:
    netns = cluster.node_netns(NODE)
    before = processes("envoy", netns)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()

    def back() -> bool:
        now = processes("envoy", netns)
        return bool(now) and not {*now} & {*before} and _state(kube)["state"] == "Ok"

    until("a new Envoy answers", back, WELL_SECONDS, 0.5)
    print(f"a new Envoy answers {time.monotonic() - begun:.1f} s after kill -9")


def _state(kube: Kube) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(dbg(kube, NODE, "status", "-o", "json"))["proxy"]
    return state
