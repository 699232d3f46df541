# SPDX-License-Identifier: Apache-2.0
"""The node's devices, routes and masquerade in a namespace of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from agent_fakes import ADDRESSING

from cilium_agent.host import devices, network
from cilium_agent.host.errors import HostError
from cilium_agent.host.netns import node_netns_cookie, on_node
from cilium_agent.model import RemoteNode

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]
NODE, POD, POD_BESIDE = "172.30.0.11", "10.0.0.77", "10.0.0.99"


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def ip(*words: str) -> list[dict]:
    return json.loads(run("ip", "-j", *words) or "[]")


def sysctl(key: str) -> str:
    return Path("/proc/sys/net", key).read_text().strip()


def set_sysctl(key: str, value: str) -> None:
    Path("/proc/sys/net", key).write_text(value)


def host_routes() -> dict[str, dict]:
    found = ip("route", "show", "dev", "cilium_host") + ip(
        "-6", "route", "show", "dev", "cilium_host", "proto", "0xc1"
    )
    return {r["dst"]: r for r in found if not r["dst"].startswith("fe80")}


def remote(number: int) -> RemoteNode:
    return RemoteNode(
        name=f"node{number}",
        tunnel=ip_address(f"172.30.0.1{number}"),
        addresses=(ip_address(f"172.30.0.1{number}"),),
        pod_cidrs=(ip_network(f"10.0.{number}.0/24"), ip_network(f"fd00::{number}00/120")),
    )


@pytest.fixture
async def underlay(node: None) -> None:
    def make(route) -> None:
        route.link("set", index=1, state="up")
        route.link("add", ifname="eth0", kind="veth", mtu=1600, peer="wire")
        index = route.link_lookup(ifname="eth0")[0]
        route.link("set", index=index, state="up")
        route.addr("add", index=index, address="172.30.0.11", prefixlen=24)
        route.addr("add", index=index, address="fd00:30::11", prefixlen=64, flags=2)

    await on_node("underlay", make)


@pytest.mark.usefixtures("underlay")
async def test_setup_makes_everything_and_can_be_repeated(tmp_path: Path) -> None:
    host = network.HostNetwork(run_dir=tmp_path)
    state = await host.setup(ADDRESSING)
    assert (state.underlay.name, state.device_mtu, state.tunnel_mtu) == ("eth0", 1600, 1550)
    assert state.netns_cookie == node_netns_cookie()
    links = {link["ifname"]: link for link in ip("-d", "link")}
    assert {"UP", "NOARP"} <= set(links["cilium_host"]["flags"])
    assert {"UP", "NOARP"} <= set(links["cilium_net"]["flags"])
    assert links["cilium_host"]["mtu"] == 1600
    assert links["cilium_host"]["ifindex"] == state.host_ifindex
    assert links["cilium_host"]["address"] == state.host_mac.hex(":")
    vxlan = links["cilium_vxlan"]["linkinfo"]["info_data"]
    assert vxlan["external"] is True
    assert vxlan["port"] == 8472
    addresses = {
        entry["local"]
        for entry in ip("addr", "show", "cilium_host")[0]["addr_info"]
        if not entry["local"].startswith("fe80")
    }
    assert addresses == {"10.0.0.1", "fd00::1"}
    for key, value in {
        "ipv4/ip_forward": "1",
        "ipv6/conf/all/forwarding": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "0",
        "ipv4/conf/cilium_host/rp_filter": "0",
        "ipv4/conf/cilium_vxlan/rp_filter": "0",
        "ipv6/conf/eth0/accept_ra": "2",
    }.items():
        assert sysctl(key) == value, key
    assert await host.setup(ADDRESSING) == state
    assert await network.router_addresses(ADDRESSING.pod_v4, ADDRESSING.pod_v6) == (
        ADDRESSING.router_v4,
        ADDRESSING.router_v6,
    )


@pytest.mark.usefixtures("underlay")
async def test_routes_to_nodes_survive_a_restart(tmp_path: Path) -> None:
    """Until the other nodes are listed nobody knows that a route is stale."""
    before = network.HostNetwork(run_dir=tmp_path)
    await before.setup(ADDRESSING)
    await before.sync_routes({"node2": remote(2), "node3": remote(3)})
    after = network.HostNetwork(run_dir=tmp_path)
    await after.setup(ADDRESSING)
    assert {"10.0.2.0/24", "10.0.3.0/24", "fd00::300/120"} <= set(host_routes())
    await after.sync_routes({"node2": remote(2)})
    assert "10.0.3.0/24" not in host_routes()


@pytest.mark.usefixtures("underlay")
async def test_routes_follow_the_nodes(tmp_path: Path) -> None:
    host = network.HostNetwork(run_dir=tmp_path)
    await host.sync_routes({"node2": remote(2)})  # before setup: kept for later
    await host.setup(ADDRESSING)
    found = host_routes()
    assert set(found) == {"10.0.0.0/24", "fd00::/120", "10.0.2.0/24", "fd00::200/120"}
    assert found["10.0.0.0/24"]["prefsrc"] == "10.0.0.1"
    assert "metrics" not in found["10.0.0.0/24"]
    assert found["10.0.2.0/24"]["prefsrc"] == "10.0.0.1"
    assert found["10.0.2.0/24"]["metrics"] == [{"mtu": 1550}]
    assert found["fd00::200/120"]["prefsrc"] == "fd00::1"
    assert found["fd00::200/120"]["metrics"] == [{"mtu": 1550}]
    await host.sync_routes({"node2": remote(2), "node3": remote(3)})
    assert {"10.0.2.0/24", "10.0.3.0/24", "fd00::300/120"} <= set(host_routes())
    await host.sync_routes({"node3": remote(3)})
    assert set(host_routes()) == {
        "10.0.0.0/24",
        "fd00::/120",
        "10.0.3.0/24",
        "fd00::300/120",
    }


@pytest.mark.usefixtures("underlay")
async def test_pods_outside_of_the_cidrs_are_reached_while_they_are_there(
    tmp_path: Path,
) -> None:
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(replace(ADDRESSING, pod_v6=None, router_v6=None))
    outside = [ip_address("10.9.0.7"), ip_address("fd09::7")]
    await host.reach(lambda: outside)
    await host.sync_routes({"node2": remote(2)})
    assert set(host_routes()) == {"10.0.0.0/24", "10.0.2.0/24", "10.9.0.7"}
    assert host_routes()["10.9.0.7"]["prefsrc"] == "10.0.0.1"
    outside.clear()
    await host.repair()
    assert set(host_routes()) == {"10.0.0.0/24", "10.0.2.0/24"}


@pytest.mark.usefixtures("underlay")
async def test_routes_of_others_are_left_alone(tmp_path: Path) -> None:
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(ADDRESSING)
    run("ip", "route", "add", "192.0.2.0/24", "dev", "cilium_host")
    await host.sync_routes({})
    assert "192.0.2.0/24" in host_routes()


@pytest.mark.usefixtures("underlay")
async def test_one_family_alone(tmp_path: Path) -> None:
    v4 = replace(ADDRESSING, pod_v6=None, router_v6=None, node_v6=None)
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(v4)
    await host.sync_routes({"node2": remote(2)})
    assert set(host_routes()) == {"10.0.0.0/24", "10.0.2.0/24"}
    table = run("nft", "list", "table", "inet", "cilium")
    assert "ip saddr 10.0.0.0/24" in table
    assert "ip6" not in table


@pytest.mark.usefixtures("underlay")
async def test_what_others_break_is_repaired(tmp_path: Path) -> None:
    host = network.HostNetwork(run_dir=tmp_path)
    before = await host.setup(ADDRESSING)
    await host.sync_routes({"node2": remote(2)})
    wanted = host_routes()
    ruleset = ["nft", "-s", "list", "ruleset"]
    table = run(*ruleset)
    assert "masquerade" in table
    for command in (
        "ip route del 10.0.2.0/24 dev cilium_host",
        "ip addr del fd00::1/128 dev cilium_host",
        "ip link set cilium_vxlan down",
        "nft flush chain inet cilium postrouting",
        "sysctl -qw net.ipv4.ip_forward=0",
    ):
        run(*command.split())
    await host.repair()
    assert host_routes() == wanted
    assert run(*ruleset) == table
    assert sysctl("ipv4/ip_forward") == "1"
    assert host.state == before
    run("ip", "link", "del", "cilium_host")
    run("nft", "delete", "table", "inet", "cilium")
    await host.repair()
    assert host_routes() == wanted
    assert host.state is not None
    assert host.state.host_ifindex != before.host_ifindex
    assert run(*ruleset) == table


async def test_cleanup_leaves_the_links_of_another_cni(tmp_path: Path) -> None:
    run("ip", "link", "add", "lxc0123456789ab", "type", "veth", "peer", "name", "podside")
    await network.cleanup(tmp_path)
    assert "lxc0123456789ab" in {link["ifname"] for link in ip("link")}


@pytest.mark.usefixtures("underlay")
async def test_cleanup_leaves_nothing(tmp_path: Path) -> None:
    before = ip("link"), ip("route"), ip("-6", "route")
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(ADDRESSING)
    await host.sync_routes({"node2": remote(2)})
    run("ip", "link", "add", "lxc0123456789ab", "type", "veth", "peer", "name", "podside")
    run("ip", "link", "set", "lxc0123456789ab", "alias", "cilium-agent uid=u interface=eth0")
    await network.cleanup(tmp_path)
    await network.cleanup(tmp_path)
    assert {link["ifname"] for link in ip("link")} == {link["ifname"] for link in before[0]}
    assert (ip("route"), ip("-6", "route")) == before[1:]
    assert run("nft", "list", "ruleset") == ""


@pytest.mark.usefixtures("underlay")
async def test_cleanup_turns_reverse_path_checks_on_again(tmp_path: Path) -> None:
    keys = [f"ipv4/conf/{name}/rp_filter" for name in ("all", "default", "eth0")]
    for key in keys:
        set_sysctl(key, "2")
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(ADDRESSING)
    assert {sysctl(key) for key in keys} == {"0"}
    set_sysctl(keys[2], "1")  # by somebody, whose wish is the newer one
    await host.repair()
    assert sysctl(keys[2]) == "0"
    set_sysctl(keys[1], "1")  # and this after our last round
    await network.cleanup(tmp_path)
    assert [sysctl(key) for key in keys] == ["2", "1", "1"]
    assert sysctl("ipv4/ip_forward") == "1"
    assert sysctl("ipv6/conf/all/forwarding") == "1"


@pytest.mark.usefixtures("underlay")
@pytest.mark.parametrize("content", [None, "", "[]", '{"ipv4/ip_forward": "0"}'])
async def test_cleanup_without_a_usable_record(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "sysctl.json").write_text(content)
    set_sysctl("ipv4/ip_forward", "1")
    await network.cleanup(tmp_path)
    assert sysctl("ipv4/ip_forward") == "1"


async def test_an_unknown_node_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="172.30.0.11"):
        await network.HostNetwork(run_dir=tmp_path).setup(ADDRESSING)


@pytest.mark.usefixtures("underlay")
async def test_a_foreign_device_of_our_name_is_replaced(tmp_path: Path) -> None:
    await on_node(
        "foreign",
        lambda r: r.link("add", ifname="cilium_vxlan", kind="vxlan", vxlan_id=7, vxlan_port=4789),
    )
    await network.HostNetwork(run_dir=tmp_path).setup(ADDRESSING)
    (link,) = ip("-d", "link", "show", "cilium_vxlan")
    assert link["linkinfo"]["info_data"]["external"] is True


@pytest.mark.usefixtures("underlay")
@pytest.mark.parametrize(
    ("native", "target", "seen"),
    [
        ((), "172.30.0.99", NODE),
        ((), "10.9.9.9", NODE),  # outside, though inside the default pool 10.0.0.0/8
        ((), POD_BESIDE, POD),
        (("10.9.0.0/16",), "10.9.9.9", POD),
        (("10.0.0.0/8",), "10.9.9.9", POD),
        (("10.9.0.0/16",), "10.10.9.9", NODE),
        (("10.9.0.0/16",), POD_BESIDE, POD),
    ],
)
async def test_masquerade_of_what_leaves_the_node(
    native: tuple[str, ...], target: str, seen: str, tmp_path: Path
) -> None:
    """A packet from a pod address through the node: the peer sees the node's address, or not."""
    host = network.HostNetwork(run_dir=tmp_path, native=[ip_network(text) for text in native])
    await host.setup(ADDRESSING)
    assert await _source_seen(target) == seen


@pytest.mark.usefixtures("underlay")
async def test_masquerade_is_the_same_for_both_families(tmp_path: Path) -> None:
    host = network.HostNetwork(
        run_dir=tmp_path, native=[ip_network("10.9.0.0/16"), ip_network("fd09::/16")]
    )
    await host.setup(ADDRESSING)
    lines = run("nft", "list", "table", "inet", "cilium").splitlines()
    assert {" ".join(line.split()) for line in lines if "saddr" in line} == {
        "ip saddr 10.0.0.0/24 ip daddr != { 10.0.0.0/24, 10.9.0.0/16 } masquerade",
        "ip6 saddr fd00::/120 ip6 daddr != { fd00::/120, fd09::/16 } masquerade",
    }


@pytest.mark.usefixtures("underlay")
async def test_masquerade_on_a_node_inside_the_pod_pool(tmp_path: Path) -> None:
    """Nodes, API server and databases in 10.0.0.0/8 are the common case."""
    run("ip", "addr", "add", "10.200.0.11/16", "dev", "eth0")
    host = network.HostNetwork(run_dir=tmp_path)
    await host.setup(replace(ADDRESSING, node_v4=ip_address("10.200.0.11")))
    await host.sync_routes({"node2": remote(2)})
    assert await _source_seen("10.200.0.12") == "10.200.0.11"


async def _source_seen(target: str) -> str:
    """Send UDP from pod address 10.0.0.77 to a target beyond eth0; return the source on the wire.

    The pod is a veth pair inside the node, its source address spoofed by a raw IPv4 packet.
    """
    script = (
        "ip link show pod0 || ip link add pod0 type veth peer name pod1;"
        "ip link set pod0 up; ip link set pod1 up;"
        f"ip link set wire up; ip neigh replace {target} dev eth0 lladdr 02:00:00:00:00:99;"
        f"ip route replace {target}/32 dev eth0"
    )
    run("sh", "-ec", script)
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    sniffer.bind(("wire", 0))
    sniffer.settimeout(3)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("pod1", 0))
    info = await on_node("mac", lambda r: devices.find(r, "pod0"))
    assert info is not None
    udp = struct.pack("!HHHH", 4000, 9, 8, 0)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        28,
        1,
        0,
        64,
        17,
        0,
        ip_address(POD).packed,
        ip_address(target).packed,
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", checksum) + head[12:]
    frame = bytes.fromhex(str(info["mac"]).replace(":", "")) + b"\x02\0\0\0\0\x01\x08\x00"
    loop = asyncio.get_running_loop()
    try:
        sender.send(frame + head + udp)
        while True:
            packet = await loop.run_in_executor(None, sniffer.recv, 2048)
            if packet[30:34] == ip_address(target).packed:
                return str(ip_address(packet[26:30]))
    finally:
        sender.close()
        sniffer.close()
