# SPDX-License-Identifier: Apache-2.0
"""This node's CiliumNode, the others', and what the machine says of itself."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, serving

from cilium_agent.errors import AgentError
from cilium_agent.k8s.watches import Watches
from cilium_agent.nodes.local import cgroup2_root
from cilium_agent.nodes.own import PATH, OwnNode, pod_networks
from cilium_agent.nodes.remote import remote_nodes, tunnel_rows
from cilium_core.addresses import pack_address, pack_network
from cilium_core.crds import models
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo

NODE: dict[str, Any] = {
    "metadata": {"name": "node1", "uid": "u1", "labels": {"zone": "a"}},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "172.30.0.11"},
            {"type": "Hostname", "address": "node1"},
            {"type": "InternalIP", "address": "fd00:30::11"},
        ],
        "nodeInfo": {"bootID": "boot-1"},
    },
}


def cilium_node(name: str, *cidrs: str, ip: str = "172.30.0.12") -> models.CiliumNode:
    addresses = [models.NodeAddress(type="InternalIP", ip=ip)] if ip else []
    ipam = models.NodeIPAMSpec(pod_cidrs=list(cidrs))
    spec = models.CiliumNodeSpec(addresses=addresses, ipam=ipam)
    return models.CiliumNode(metadata=models.ObjectMeta(name=name), spec=spec)


async def test_own_node_is_made_and_leaves_the_operators_share_alone() -> None:
    api = FakeApi()
    api.put("/api/v1/nodes", dict(NODE))
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        task = asyncio.create_task(watches.node.run())
        await asyncio.wait_for(watches.node.synced.wait(), 5)
        own = OwnNode(client, "node1", watches.node, watches.ciliumnodes)
        await own.publish()
        item = api.objects[f"{PATH}/node1"]
        assert item["metadata"]["ownerReferences"][0]["uid"] == "u1"
        item["spec"]["ipam"] = {"podCIDRs": ["10.0.0.0/24"]}
        api.fail_next = [500]
        await own.publish((ip_address("10.0.0.1"), None))
        task.cancel()
    spec = api.objects[f"{PATH}/node1"]["spec"]
    assert spec["ipam"] == {"podCIDRs": ["10.0.0.0/24"]}
    assert spec["bootid"] == "boot-1"
    assert [(entry["type"], entry["ip"]) for entry in spec["addresses"]] == [
        ("InternalIP", "172.30.0.11"),
        ("InternalIP", "fd00:30::11"),
        ("CiliumInternalIP", "10.0.0.1"),
    ]


def test_pod_networks_wait_for_every_family_in_use() -> None:
    assert pod_networks(["10.0.0.0/24"], ipv4=True, ipv6=True) is None
    both = pod_networks(["fd00::/120", "10.0.0.0/24"], ipv4=True, ipv6=True)
    assert both == (ip_network("10.0.0.0/24"), ip_network("fd00::/120"))
    assert pod_networks(["fd00::/120", "10.0.0.0/24"], ipv4=True, ipv6=False) == (
        ip_network("10.0.0.0/24"),
        None,
    )
    assert pod_networks([], ipv4=True, ipv6=False) is None


def test_remote_nodes_are_those_that_can_be_reached() -> None:
    listed = [
        cilium_node("node2", "10.0.1.0/24"),
        cilium_node("node1", "10.0.0.0/24"),
        cilium_node("new"),
        cilium_node("lost", "10.0.9.0/24", ip=""),
    ]
    assert [node.name for node in remote_nodes(listed, "node1")] == ["node2"]


def test_tunnel_rows_keep_their_numbers() -> None:
    nodes = remote_nodes(
        [
            cilium_node("node2", "10.0.1.0/24", "fd00::100/120"),
            cilium_node("node3", "10.0.2.0/24", ip="172.30.0.13"),
        ],
        "node1",
    )
    old = IpcacheKey(*pack_network("10.9.9.0/24"))
    held = {old: TunnelInfo(pack_address("172.30.0.13"), 7)}
    rows = tunnel_rows(nodes, held)
    by_cidr = {key: rows[key].node_id for key in rows}
    assert by_cidr == {
        IpcacheKey(*pack_network("10.0.1.0/24")): 8,
        IpcacheKey(*pack_network("fd00::100/120")): 8,
        IpcacheKey(*pack_network("10.0.2.0/24")): 7,
    }


MIXED = (
    "30 1 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "31 30 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "33 30 0:27 / /other rw - cgroup2 cgroup2 rw\n"
)


def test_cgroup2_root() -> None:
    below = Path("/sys/fs/cgroup")
    assert cgroup2_root(below, MIXED) == below / "unified"
    pure = "30 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert cgroup2_root(below, pure) == below
    with pytest.raises(AgentError, match="mount one"):
        cgroup2_root(below, MIXED.replace("cgroup2", "tmpfs"))
