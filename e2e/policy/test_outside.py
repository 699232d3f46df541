# SPDX-License-Identifier: Apache-2.0
"""Policies about what is no pod: prefixes outside, this node, other nodes, the API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import Cluster
from e2e.kube import Kube, probe_pod, until
from e2e.policy.case import Object, cnp

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180, func_only=True)]


@pytest.fixture(scope="module")
def targets(cluster: Cluster, kube: Kube, namespace: str) -> Iterator[dict[str, list[str]]]:
    """What the client on node1 tries, by place."""
    kube.apply(*(probe_pod(namespace, name, "node1") for name in ("client", "server")))
    kube.wait_ready(namespace, "client", "server")
    child = cluster.outside_probe("serve")
    assert child.stdout is not None
    assert b"serving" in child.stdout.readline()
    nodes = {
        node["metadata"]["name"]: [
            a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"
        ]
        for node in kube.json("get", "nodes")["items"]
    }
    servers = kube.json("-n", "default", "get", "endpointslices", "kubernetes")
    api = f"{servers['endpoints'][0]['addresses'][0]}:{servers['ports'][0]['port']}"
    yield {
        "outside": [at(a, 7000) for a in cluster.outside_addresses],
        "own node": [at(a, 10250) for a in nodes["node1"]],
        "other node": [at(a, 10250) for a in nodes["node2"]],
        "API server": [api],
        "pod": [at(a, 7000) for a in kube.pod_addresses(namespace, "server")],
    }
    child.terminate()
    child.wait(10)


def at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing is allowed": ({"egress": [{}]}, set()),
    "the world": (
        {"egress": [{"toEntities": ["world"]}]},
        {"outside", "API server"},
    ),
    "this node": ({"egress": [{"toEntities": ["host"]}]}, {"own node"}),
    "other nodes": ({"egress": [{"toEntities": ["remote-node"]}]}, {"other node"}),
    "the API server": ({"egress": [{"toEntities": ["kube-apiserver"]}]}, {"API server"}),
    "the cluster": (
        {"egress": [{"toEntities": ["cluster"]}]},
        {"own node", "other node", "API server", "pod"},
    ),
    "prefixes": ({"egress": [{"toCIDR": ["{outside4}/32", "{outside6}/128"]}]}, {"outside"}),
    "wide prefixes with exceptions": (
        {
            "egress": [
                {
                    "toCIDRSet": [
                        {"cidr": "0.0.0.0/0", "except": ["{outside4}/32"]},
                        {"cidr": "::/0", "except": ["{outside6}/128"]},
                    ]
                }
            ]
        },
        {"API server"},
    ),
    "all but denied prefixes": (
        {
            "egress": [{"toEntities": ["all"]}],
            "egressDeny": [{"toCIDR": ["{outside4}/32", "{outside6}/128"]}],
        },
        {"own node", "other node", "API server", "pod"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_egress(
    cluster: Cluster, kube: Kube, namespace: str, targets: dict[str, list[str]], name: str
) -> None:
    spec, expected = CASES[name]
    policy = named(cnp({"endpointSelector": {"matchLabels": {"app": "client"}}, **spec}), cluster)
    policy["metadata"]["namespace"] = namespace
    kube.apply(policy)
    try:
        until("what is reached", lambda: reached(kube, namespace, targets) == expected, 12)
    except TimeoutError:
        assert reached(kube, namespace, targets) == expected
    finally:
        kube.kubectl("-n", namespace, "delete", "ciliumnetworkpolicy", "case")


def named(policy: Object, cluster: Cluster) -> Object:
    """The policy with the outside host's addresses."""
    v4, v6 = sorted(cluster.outside_addresses, key=lambda a: ":" in a)
    text = json.dumps(policy).replace("{outside4}", v4).replace("{outside6}", v6)
    found: Object = json.loads(text)
    return found


def reached(kube: Kube, namespace: str, targets: dict[str, list[str]]) -> set[str]:
    """The places of which every address is reached; one that is reached in part is marked so."""
    elements = [
        {"kind": "tcp", "target": target, "size": 0, "timeout": 1, "id": place}
        for place, listed in targets.items()
        for target in listed
    ]
    outcomes = kube.matrix(namespace, "client", elements)
    found = set()
    for place in targets:
        oks = [o["ok"] for o in outcomes if o["id"] == place]
        if all(oks):
            found.add(place)
        elif any(oks):
            found.add(f"{place} in part")
    return found
