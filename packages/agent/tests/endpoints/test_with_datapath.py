# SPDX-License-Identifier: Apache-2.0
"""Pods attached by the manager talk through the real programs: to each other, to and from the node.

The node is a namespace with an underlay; outside is another one at the end of it.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_interface,
)
from pathlib import Path

import pytest
from agent_fakes import ADDRESSING, Agent, Namespace, make_agent, pod

from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.endpoints import KernelEndpoints, endpoint_rows
from cilium_agent.datapath.programs import cleanup, ensure_programs
from cilium_agent.datapath.store import MapStore
from cilium_agent.endpoints.attachment import Attachment
from cilium_agent.endpoints.links import LinkSettings
from cilium_agent.endpoints.restore import restore
from cilium_agent.host import devices, network, routes
from cilium_agent.host.netns import in_netns, on_node
from cilium_agent.model import DatapathSettings, Endpoint

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]


@dataclass
class Wired:
    """A node with programs in force and two pods on it."""

    agent: Agent
    pods: list[Endpoint]
    outside: Namespace


async def ping(target: object, netns: str = "", size: int = 56) -> bool:
    enter = ["nsenter", f"--net={netns}"] if netns else []
    process = await asyncio.create_subprocess_exec(
        *enter, "ping", "-c1", "-W2", f"-s{size}", str(target), stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


async def _underlay(outside: Namespace) -> None:
    def make(route) -> None:
        route.link("set", index=1, state="up")
        route.link(
            "add", ifname="eth0", kind="veth", peer={"ifname": "out0", "net_ns_fd": outside.path}
        )
        index = route.link_lookup(ifname="eth0")[0]
        route.link("set", index=index, state="up")
        route.addr("add", index=index, address="172.30.0.11", prefixlen=24)
        route.addr("add", index=index, address="fd00:30::11", prefixlen=64, flags=2)

    def end(route) -> None:
        index = route.link_lookup(ifname="out0")[0]
        route.link("set", index=index, state="up")
        route.addr("add", index=index, address="172.30.0.100", prefixlen=24)
        route.addr("add", index=index, address="fd00:30::100", prefixlen=64, flags=2)

    await on_node("underlay", make)
    await in_netns(outside.path, "outside", end)


@pytest.fixture
async def wired(tmp_path: Path, namespaces: list[Namespace]) -> AsyncIterator[Wired]:
    namespaces.extend(Namespace() for _ in range(3))
    await _underlay(namespaces[2])
    bpffs = tmp_path / "bpffs"
    bpffs.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(bpffs)], check=True)  # noqa: ASYNC221
    root = bpffs / "cilium"
    store = MapStore(root / "maps")
    try:
        host = await network.HostNetwork(run_dir=tmp_path).setup(ADDRESSING)
        programs = await ensure_programs(
            DatapathSettings(
                host_ifindex=host.host_ifindex,
                vxlan_ifindex=host.vxlan_ifindex,
                host_mac=host.host_mac,
                node_netns_cookie=host.netns_cookie,
                mtu=host.device_mtu,
                enable_ipv4=True,
                enable_ipv6=True,
            ),
            root,
        )
        attachments = Attachments(programs, root)
        attachments.attach_host(host.host_ifindex)
        attachments.attach_overlay(host.vxlan_ifindex)
        kernel = KernelEndpoints(store, attachments)
        assert ADDRESSING.node_v4
        assert ADDRESSING.node_v6
        assert ADDRESSING.router_v4
        assert ADDRESSING.router_v6
        kernel.replace_host_addresses(
            [ADDRESSING.node_v4, ADDRESSING.node_v6, ADDRESSING.router_v4, ADDRESSING.router_v6]
        )
        links = LinkSettings(
            host.device_mtu, host.tunnel_mtu, ADDRESSING.router_v4, ADDRESSING.router_v6
        )
        agent = await make_agent(tmp_path / "e.db", pod("a"), pod("b"), links=links)
        agent.manager.datapath = kernel
        pods = [
            await agent.manager.create(
                Attachment(f"c{n}", "eth0", namespaces[n].path, "default", name, f"uid-{name}")
            )
            for n, name in enumerate("ab")
        ]
        yield Wired(agent, pods, namespaces[2])
    finally:
        cleanup(root)
        store.close()
        subprocess.run(["umount", str(bpffs)], check=True)  # noqa: ASYNC221


async def test_everyone_reaches_everyone(wired: Wired) -> None:
    a, b = wired.pods
    reached = {
        "pod to pod v4": await ping(b.ipv4, a.netns),
        "pod to pod v6": await ping(b.ipv6, a.netns),
        "pod to pod v4, full segments": await ping(b.ipv4, a.netns, 1400),
        "node to pod v4": await ping(a.ipv4),
        "node to pod v6": await ping(a.ipv6),
        "pod to node v4": await ping(ADDRESSING.node_v4, a.netns),
        "pod to node v6": await ping(ADDRESSING.node_v6, a.netns),
        "pod to router v4": await ping(ADDRESSING.router_v4, a.netns),
        "pod to outside v4": await ping("172.30.0.100", a.netns),
        "pod to outside v6": await ping("fd00:30::100", a.netns),
    }
    assert [what for what, good in reached.items() if not good] == []


async def test_a_deleted_pod_is_out_of_the_tables(wired: Wired) -> None:
    a, b = wired.pods
    assert await ping(b.ipv4, a.netns)
    await wired.agent.manager.delete(b.container_id, "eth0")
    assert not await ping(b.ipv4, a.netns)
    assert await ping(ADDRESSING.node_v4, a.netns)


async def test_pods_outside_of_new_cidrs_stay_reachable(wired: Wired, tmp_path: Path) -> None:
    moved = replace(
        ADDRESSING,
        pod_v4=IPv4Network("10.9.0.0/24"),
        router_v4=IPv4Address("10.9.0.1"),
        pod_v6=IPv6Network("fd09::/120"),
        router_v6=IPv6Address("fd09::1"),
    )
    links = replace(
        wired.agent.manager.links.settings, router_v4=moved.router_v4, router_v6=moved.router_v6
    )
    await wired.agent.manager.store.close()
    agent = await make_agent(tmp_path / "e.db", addressing=moved, links=links)
    kernel = agent.manager.datapath = wired.agent.manager.datapath
    rows = endpoint_rows(wired.pods[0]) | endpoint_rows(wired.pods[1])
    assert (await restore(agent.manager, rows)).removed == []

    def move(route) -> None:
        routers = {
            ip_interface(f"{a}/{a.max_prefixlen}") for a in (moved.router_v4, moved.router_v6)
        }
        devices.ensure_addresses(route, devices.HOST, routers)
        routes.sync(route, routes.wanted(moved, (), 1450, agent.manager.pool.outside()))

    await on_node("the new pod CIDRs", move)
    kernel.replace_host_addresses([moved.node_v4, moved.node_v6, moved.router_v4, moved.router_v6])
    a, b = wired.pods
    reached = {
        "pod to pod v4": await ping(b.ipv4, a.netns),
        "pod to pod v6": await ping(b.ipv6, a.netns),
        "node to pod v4": await ping(a.ipv4),
        "node to pod v6": await ping(a.ipv6),
        "pod to node v4": await ping(moved.node_v4, a.netns),
        "pod to node v6": await ping(moved.node_v6, a.netns),
    }
    assert [what for what, good in reached.items() if not good] == []
