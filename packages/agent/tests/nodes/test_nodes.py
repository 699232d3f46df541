# SPDX-License-Identifier: Apache-2.0
"""The other nodes' CiliumNodes, and what the machine says of itself."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from cilium_agent.errors import AgentError
from cilium_agent.model import RemoteNode
from cilium_agent.nodes.local import cgroup2_root
from cilium_agent.nodes.own import pod_networks
from cilium_agent.nodes.remote import remote_node, tunnel_rows
from cilium_core.addresses import pack_address, pack_network
from cilium_core.crds import models
from cilium_core.errors import FieldError
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo


def cilium_node(name: str, *cidrs: str, ip: str = "172.30.0.12") -> models.CiliumNode:
    addresses = [models.NodeAddress(type="InternalIP", ip=ip)] if ip else []
    ipam = models.NodeIPAMSpec(pod_cidrs=list(cidrs))
    spec = models.CiliumNodeSpec(addresses=addresses, ipam=ipam)
    return models.CiliumNode(metadata=models.ObjectMeta(name=name), spec=spec)


def test_pod_networks_wait_for_every_family_in_use() -> None:
    assert pod_networks(["10.0.0.0/24"], ipv4=True, ipv6=True) is None
    both = pod_networks(["fd00::/120", "10.0.0.0/24"], ipv4=True, ipv6=True)
    assert both == (ip_network("10.0.0.0/24"), ip_network("fd00::/120"))
    assert pod_networks(["fd00::/120", "10.0.0.0/24"], ipv4=True, ipv6=False) == (
        ip_network("10.0.0.0/24"),
        None,
    )
    assert pod_networks([], ipv4=True, ipv6=False) is None
    assert pod_networks(["10.0.0.1/24"], ipv4=True, ipv6=False) is None
    assert pod_networks(["10.0.0.1/24", "10.0.4.0/24"], ipv4=True, ipv6=False) == (
        ip_network("10.0.4.0/24"),
        None,
    )


def views(*nodes: models.CiliumNode) -> list[RemoteNode]:
    return [view for view in map(remote_node, nodes) if view is not None]


def test_remote_nodes_are_those_that_can_be_reached() -> None:
    listed = views(
        cilium_node("node2", "10.0.1.0/24"),
        cilium_node("new"),
        cilium_node("lost", "10.0.9.0/24", ip=""),
    )
    assert [node.name for node in listed] == ["node2"]


def test_what_cannot_be_used_is_left_out_and_named() -> None:
    item = cilium_node("node2", "10.0.1.1/24", "fd00::100/120", "all", ip="fe80::1%eth0")
    item.spec.addresses.append(models.NodeAddress(type="InternalIP", ip="172.30.0.12"))
    problems: list[FieldError] = []
    view = remote_node(item, problems)
    assert view is not None
    assert view.pod_cidrs == (ip_network("fd00::100/120"),)
    assert str(view.tunnel) == "172.30.0.12"
    assert [problem.field for problem in problems] == [
        "spec.addresses[0].ip",
        "spec.ipam.podCIDRs[0]",
        "spec.ipam.podCIDRs[2]",
    ]
    assert "host bits" in str(problems[1])


def test_tunnel_rows_keep_their_numbers() -> None:
    nodes = views(
        cilium_node("node2", "10.0.1.0/24", "fd00::100/120"),
        cilium_node("node3", "10.0.2.0/24", ip="172.30.0.13"),
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
