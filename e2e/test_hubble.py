# SPDX-License-Identifier: Apache-2.0
"""Flows of all nodes through relay: as a user asks, over `cilium hubble port-forward`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from e2e.kube import Kube
from e2e.relay import Hubble, asked, flows

# One group with the tests that change the release, so that none looks at it meanwhile.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("breaks")]


@pytest.fixture(scope="module")
def hubble(cluster: Any) -> Iterator[Hubble]:
    """Run `hubble` against relay; the answer's text."""
    with asked(cluster.kubeconfig) as run:
        yield run


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
    found = flows(hubble("observe", "--last", "500", "-o", "json"))
    times = [nanoseconds(flow["time"]) for flow in found]
    assert len(found) == 500
    assert times == sorted(times)
    assert len({flow["node_name"] for flow in found}) > 1


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
