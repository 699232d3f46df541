# SPDX-License-Identifier: Apache-2.0
"""Egress by DNS name: a pod reaches what its names stand for, at once, and nothing else.

The server of names is a pod on node2; node1 reaches 198.18.0.0/16 at the host outside, which has
every address of that range. `FQDN_LOOKUPS` is how many lookups are each followed by a connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import Cluster
from e2e.kube import Kube, KubeError, probe_pod, processes, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240, func_only=True)]

LOOKUPS = int(os.environ.get("FQDN_LOOKUPS", "10000"))
WIDTH = 32
RANGE = "198.18.0.0/16"
ZONE = "names.test"
TTL = 60  # longer than an agent may take to come back


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[None]:
    """TCP 7000 on every address of the range, reached from node1."""
    v4 = next(a for a in cluster.outside_addresses if ":" not in a)
    node = ["nsenter", f"--net={cluster.node_netns('node1')}", "--", "ip", "route"]
    subprocess.run([*node, "replace", RANGE, "via", v4], check=True)
    cluster.outside_exec(["ip", "route", "replace", "local", RANGE, "dev", "lo"])
    child = cluster.outside_probe("serve")
    assert child.stdout is not None
    assert b"serving" in child.stdout.readline()
    yield
    child.terminate()
    child.wait(10)
    subprocess.run([*node, "delete", RANGE], check=True)


@pytest.fixture(scope="module")
def dns(kube: Kube, namespace: str, outside: None) -> str:
    """The address of a DNS server on node2; `e2e.probe.names` says what it answers."""
    server = probe_pod(namespace, "names", "node2")
    words = ["--first", "198.18.100.1", "--ttl", str(TTL)]
    server["spec"]["containers"][0]["command"] = ["probe", "names-serve", *words]
    kube.apply(server, probe_pod(namespace, "client", "node1"))
    kube.wait_ready(namespace, "names", "client")
    return kube.pod_addresses(namespace, "names")[0]


@contextlib.contextmanager
def policy(kube: Kube, namespace: str, dns: str, *names: dict[str, Any]) -> Iterator[None]:
    """Questions to the server through the DNS proxy; TCP 7000 to these names alone."""
    spec = {
        "endpointSelector": {"matchLabels": {"app": "client"}},
        "egress": [
            {
                "toEndpoints": [{"matchLabels": {"app": "names"}}],
                "toPorts": [
                    {
                        "ports": [{"port": "53", "protocol": "UDP"}],
                        "rules": {"dns": [{"matchPattern": f"*.{ZONE}"}]},
                    }
                ],
            },
            {
                "toFQDNs": list(names),
                "toPorts": [{"ports": [{"port": "7000", "protocol": "TCP"}]}],
            },
        ],
    }
    kube.apply(
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "names", "namespace": namespace},
            "spec": spec,
        }
    )
    try:
        # In force once the proxy refuses what no rule of DNS allows.
        until("the policy", lambda: ask(kube, namespace, "other.test", dns)["rcode"] == 5, 30)
        yield
    finally:
        kube.kubectl("-n", namespace, "delete", "ciliumnetworkpolicy", "names")


def ask(kube: Kube, namespace: str, name: str, dns: str) -> dict[str, Any]:
    """What the pod is answered; an rcode of -1 is no answer."""
    (said,) = kube.probe(namespace, "client", "dns", "--target", f"{name}@{dns}")
    detail: dict[str, Any] = said.get("detail") or {"rcode": -1, "addresses": []}
    return detail


def reaches(kube: Kube, namespace: str, address: str, port: int = 7000) -> bool:
    """Whether the pod has a connection within half a second: before TCP tries again."""
    target = f"{address}:{port}"
    words = ("tcp", "--target", target, "--size", "0", "--timeout", "0.5")
    (said,) = kube.probe(namespace, "client", *words)
    return bool(said["ok"])


def dbg(kube: Kube, *words: str) -> str:
    """cilium-dbg of node1's agent."""
    agent = agent_pod(kube)
    return kube.kubectl(
        *("-n", "kube-system", "exec", agent, "-c", "cilium-agent", "--", "cilium-dbg", *words)
    )


def agent_pod(kube: Kube) -> str:
    """The name of node1's agent's pod."""
    where = ("-l", "k8s-app=cilium", "--field-selector", "spec.nodeName=node1")
    found: str = kube.json("-n", "kube-system", "get", "pods", *where)["items"][0]["metadata"][
        "name"
    ]
    return found


def test_a_name_opens_its_addresses_and_no_others(kube: Kube, namespace: str, dns: str) -> None:
    names = {"matchName": f"198-18-0-1.{ZONE}"}, {"matchPattern": f"198-18-1-*.{ZONE}"}
    with policy(kube, namespace, dns, *names):
        assert not reaches(kube, namespace, "198.18.0.1")  # nobody has asked for it yet
        for label in ("198-18-0-1", "198-18-1-7", "198-18-2-2"):
            address = label.replace("-", ".")
            assert ask(kube, namespace, f"{label}.{ZONE}", dns)["addresses"] == [address]
        assert reaches(kube, namespace, "198.18.0.1")
        assert reaches(kube, namespace, "198.18.1.7")
        assert not reaches(kube, namespace, "198.18.2.2")  # its name is no name of the policy
        assert not reaches(kube, namespace, "198.18.1.8")  # nobody was answered this one
        assert not reaches(kube, namespace, dns, 8080)
        shown = json.loads(dbg(kube, "fqdn", "cache", "list", "-o", "json"))
        named = {entry["fqdn"]: entry["ips"] for entry in shown}
        assert named[f"198-18-1-7.{ZONE}."] == ["198.18.1.7"]
        labels = {
            label
            for entry in json.loads(dbg(kube, "identity", "list", "-o", "json"))
            for label in entry["identity"]["labels"]
        }
        assert f"fqdn:198-18-1-*.{ZONE}" in labels


def test_ten_thousand_lookups_of_changing_names(kube: Kube, namespace: str, dns: str) -> None:
    """Each is followed at once by a connection, and none is refused."""
    with policy(kube, namespace, dns, {"matchPattern": f"*.{ZONE}"}):
        words = ("names", "--server", dns, "--zone", ZONE)
        count = ("--count", str(LOOKUPS), "--width", str(WIDTH))
        (found,) = kube.probe(namespace, "client", *words, *count)
        print(found)
        assert (found["connected"], found["refusals"]) == (LOOKUPS, 0), found
        assert found["addresses"] == LOOKUPS


def test_names_in_use_outlive_a_kill_of_the_agent(
    cluster: Cluster, kube: Kube, namespace: str, dns: str
) -> None:
    with policy(kube, namespace, dns, {"matchPattern": f"*.{ZONE}"}):
        ask(kube, namespace, f"198-18-3-1.{ZONE}", dns)
        assert reaches(kube, namespace, "198.18.3.1")
        before = dbg(kube, "ip", "list", "-o", "json")
        kill_agent(cluster)
        assert reaches(kube, namespace, "198.18.3.1")
        assert not reaches(kube, namespace, "198.18.3.2")
        until("the agent is back", lambda: well(kube), 60)
        assert reaches(kube, namespace, "198.18.3.1")
        assert not reaches(kube, namespace, "198.18.3.2")
        ask(kube, namespace, f"198-18-3-3.{ZONE}", dns)
        assert reaches(kube, namespace, "198.18.3.3")
        row = {e["cidr"]: e["identity"] for e in json.loads(before)}["198.18.3.1/32"]
        now = {e["cidr"]: e["identity"] for e in json.loads(dbg(kube, "ip", "list", "-o", "json"))}
        assert {now["198.18.3.1/32"], now["198.18.3.3/32"]} == {row}


def kill_agent(cluster: Cluster) -> None:
    """kill -9 of node1's agent, as an out-of-memory killer does."""
    (pid,) = processes("cilium-agent", cluster.node_netns("node1"))
    os.kill(pid, signal.SIGKILL)


def well(kube: Kube) -> bool:
    """Whether node1's agent answers."""
    try:
        return "OK" in dbg(kube, "status", "--brief")
    except KubeError:
        return False
