# SPDX-License-Identifier: Apache-2.0
"""Flows of all nodes through relay: as a user asks, over `cilium hubble port-forward`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from e2e.kube import Kube

# One group with the tests that change the release, so that none looks at it meanwhile.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("breaks")]

Hubble = Callable[..., str]


def tool(name: str) -> str:
    """Return the path of a command of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, name
    return found


@pytest.fixture(scope="module")
def hubble(cluster: Any) -> Iterator[Hubble]:
    """Run `hubble` against relay; the answer's text."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    forward = subprocess.Popen(
        [tool("cilium"), "hubble", "port-forward", "--port-forward", str(port)],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forward.stdout is not None
    assert "Hubble Relay is at" in forward.stdout.readline()

    def run(*words: str) -> str:
        command = [tool("hubble"), *words, "--server", f"localhost:{port}"]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    yield run
    forward.terminate()
    forward.wait(10)


def nanoseconds(text: str) -> int:
    """Return a flow's time; as texts times of different precision do not compare."""
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp.ToNanoseconds()


def test_relay_has_every_node_over_tls(hubble: Hubble, kube: Kube) -> None:
    names = {node["metadata"]["name"] for node in kube.json("get", "nodes")["items"]}
    nodes = json.loads(hubble("list", "nodes", "-o", "json"))
    assert {node["name"].rpartition("/")[2] for node in nodes} == names
    assert {node["state"] for node in nodes} == {"NODE_CONNECTED"}
    assert all(node["tls"]["enabled"] for node in nodes)
    text = hubble("status")
    assert f"Connected Nodes: {len(names)}/{len(names)}" in text


def test_flows_of_several_nodes_in_order(hubble: Hubble) -> None:
    lines = hubble("observe", "--last", "500", "-o", "json").splitlines()
    flows = [found["flow"] for found in map(json.loads, lines) if "flow" in found]
    times = [nanoseconds(flow["time"]) for flow in flows]
    assert len(flows) == 500
    assert times == sorted(times)
    assert len({flow["node_name"] for flow in flows}) > 1


def test_certificates_are_secrets_of_the_operator(kube: Kube) -> None:
    for name in ("cilium-ca", "hubble-server-certs", "hubble-relay-client-certs"):
        secret = kube.json("-n", "kube-system", "get", "secret", name)
        assert "ca.crt" in secret["data"]


def test_a_relay_that_is_killed_comes_back(hubble: Hubble, kube: Kube) -> None:
    kube.kubectl("-n", "kube-system", "delete", "pod", "-l", "k8s-app=hubble-relay", "--wait=true")
    kube.kubectl(
        *("-n", "kube-system", "rollout", "status", "deployment/hubble-relay", "--timeout=120s")
    )
    deadline = time.monotonic() + 30
    while "Connected Nodes: 3/3" not in hubble("status"):
        assert time.monotonic() < deadline
        time.sleep(1)
