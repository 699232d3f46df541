# SPDX-License-Identifier: Apache-2.0
"""Where a well-formed packet goes: one table for both families, entry program by entry program."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey

pytestmark = pytest.mark.root

OK, SHOT, REDIRECT = 0, 2, 7
IN, OUT = 1, 2
POD_MAC, GATEWAY_MAC = "02:00:00:00:00:01", "02:00:00:00:00:fe"
PEER_MAC, PEER_GATEWAY_MAC = "02:00:00:00:00:02", "02:00:00:00:00:fd"
HOST_MARK, POD_MARK = 0x0C00, 0xDEAD0B00


def packet(family: int, world: dict[str, str], source: str, target: str, ttl: int = 64) -> Packet:
    """Return a TCP SYN frame between two names of the known world, as a pod sends it."""
    frame = Ether(src=POD_MAC, dst=GATEWAY_MAC)
    if family == 4:
        frame /= IP(src=world[source], dst=world[target], ttl=ttl)
    else:
        frame /= IPv6(src=world[source], dst=world[target], hlim=ttl)
    return frame / TCP(sport=4000, dport=80, flags="S") / Raw(b"payload")


class Case(NamedTuple):
    """One row: what goes in, and the verdict, counter and routing step that must come out."""

    program: str
    source: str
    target: str
    verdict: int
    reason: int
    direction: int
    ttl: int = 64
    hop: int | None = None  # routed to the peer with this much taken off the hop limit


CASES = {
    "pod to pod": Case("from_container", "pod", "peer", REDIRECT, 0, OUT, hop=1),
    "pod to node": Case("from_container", "pod", "node", OK, 0, OUT),
    "pod to world": Case("from_container", "pod", "world", OK, 0, OUT),
    "pod to pool": Case("from_container", "pod", "remote", REDIRECT, 0, OUT),
    "pod to listed": Case("from_container", "pod", "remote_listed", REDIRECT, 0, OUT),
    "spoofed peer": Case("from_container", "peer", "pod", SHOT, 132, OUT),
    "spoofed world": Case("from_container", "world", "peer", SHOT, 132, OUT),
    "spoofed node": Case("from_container", "node", "peer", SHOT, 132, OUT),
    "last hop": Case("from_container", "pod", "peer", SHOT, 196, OUT, ttl=1),
    "last hop but one": Case("from_container", "pod", "peer", REDIRECT, 0, OUT, ttl=2, hop=1),
    "last hop to node": Case("from_container", "pod", "node", OK, 0, OUT, ttl=1),
    "host to pod": Case("from_host", "node", "peer", REDIRECT, 0, OUT, hop=0),
    "host to pod, ttl 1": Case("from_host", "node", "peer", REDIRECT, 0, OUT, ttl=1, hop=0),
    "host to remote pod": Case("from_host", "node", "remote", REDIRECT, 0, OUT),
    "host to nowhere": Case("from_host", "node", "world", SHOT, 151, OUT),
    "overlay without key": Case("from_overlay", "remote", "peer", SHOT, 147, IN),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", CASES)
def test_table(kernel, worlds, name: str, family: int) -> None:
    case = CASES[name]
    frame = packet(family, worlds[family], case.source, case.target, case.ttl)
    before = bytes(frame)
    outcome = kernel.run(case.program, before)
    assert outcome.verdict == case.verdict
    assert outcome.reasons == {(case.reason, case.direction)}
    if case.hop is not None:
        frame[Ether].src, frame[Ether].dst = PEER_GATEWAY_MAC, PEER_MAC
        if family == 4:
            frame[IP].ttl -= case.hop
        else:
            frame[IPv6].hlim -= case.hop
        assert outcome.frame == bytes(frame)  # scapy's checksums
    else:
        assert outcome.frame == before


@pytest.mark.parametrize("family", [4, 6])
def test_checksum_of_every_hop_limit(kernel, worlds, family: int) -> None:
    """The incremental update is right for all values, carries included."""
    for ttl in range(2, 256):
        frame = packet(family, worlds[family], "pod", "peer", ttl)
        if family == 4:
            frame[IP].id = ttl * 257
        result = Ether(kernel.run("from_container", bytes(frame)).frame)
        raw = bytes(result)
        if family == 4:
            del result[IP].chksum
        assert bytes(result) == raw


@pytest.mark.parametrize("family", [4, 6])
def test_marks_of_pods_are_cleared_and_of_the_host_kept(kernel, worlds, family: int) -> None:
    out = bytes(packet(family, worlds[family], "pod", "world"))
    assert kernel.run("from_container", out, mark=POD_MARK).mark == 0
    back = bytes(packet(family, worlds[family], "node", "peer"))
    assert kernel.run("from_host", back, mark=HOST_MARK).mark == HOST_MARK


@pytest.mark.parametrize("family", [4, 6])
def test_source_must_come_by_its_own_device(kernel, worlds, family: int) -> None:
    frame = bytes(packet(family, worlds[family], "pod", "world"))
    assert kernel.run("from_container", frame).verdict == OK
    outcome = kernel.run("from_container", frame, ifindex=kernel.peer_ifindex)
    assert (outcome.verdict, outcome.reasons) == (SHOT, {(132, OUT)})


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_does_not_speak_to_a_nodes_tunnel(kernel, worlds, family: int) -> None:
    """It could say that it is anybody. Only for pods the port means nothing: a node may have
    addresses that nobody has told of, which look like the world's."""
    world = worlds[family]
    node = IpcacheKey(*pack_network(str(ip_address(world["tunnel"]))))
    kernel.store.ipcache.upsert({node: IpcacheInfo(6)})
    layer = IP if family == 4 else IPv6

    def sent(target: str, port: int) -> Any:
        frame = Ether(src=POD_MAC, dst=GATEWAY_MAC) / layer(src=world["pod"], dst=world[target])
        return kernel.run(
            "from_container", bytes(frame / UDP(sport=4000, dport=port) / Raw(b"x" * 8))
        )

    for target in ("node", "tunnel", "world"):
        outcome = sent(target, 8472)
        assert (outcome.verdict, outcome.reasons) == (SHOT, {(170, OUT)}), target
        assert sent(target, 8473).verdict == OK, target
    for target in ("peer", "remote", "remote_listed"):
        assert sent(target, 8472).verdict == REDIRECT, target


def test_other_protocols_and_fragments_arrive(kernel, worlds) -> None:
    ether = Ether(src=POD_MAC, dst=GATEWAY_MAC)
    four = {"src": worlds[4]["pod"], "dst": worlds[4]["peer"]}
    six = {"src": worlds[6]["pod"], "dst": worlds[6]["peer"]}
    for frame in (
        ether / IP(**four) / ICMP(),
        ether / IP(**four, proto=132) / Raw(b"sctp, say: 12"),
        ether / IP(**four, proto=47) / Raw(b"gre"),
        ether / IP(**four, flags="MF", id=5) / UDP(sport=1, dport=2) / Raw(b"x" * 64),
        ether / IP(**four, frag=9, id=5, proto=17) / Raw(b"tail"),
        ether / IPv6(**six) / ICMPv6EchoRequest(),
        ether / IPv6(**six) / IPv6ExtHdrFragment(m=1, id=5, nh=17) / UDP() / Raw(b"x" * 64),
        ether / IPv6(**six) / IPv6ExtHdrFragment(offset=9, id=5, nh=17) / Raw(b"tail"),
    ):
        outcome = kernel.run("from_container", bytes(frame))
        assert outcome.verdict == REDIRECT, frame.summary()
        assert Ether(outcome.frame).dst == PEER_MAC


def test_the_link_itself(kernel, worlds) -> None:
    """ARP and neighbour discovery are the stack's; other link-local traffic has no endpoint."""
    ether = Ether(src=POD_MAC, dst="ff:ff:ff:ff:ff:ff")
    solicit = IPv6(src="fe80::1", dst="ff02::1:ff00:2") / ICMPv6ND_NS(tgt="fe80::2")
    assert kernel.run("from_container", bytes(ether / ARP())).verdict == OK
    assert kernel.run("from_container", bytes(ether / solicit)).verdict == OK
    assert kernel.run("from_host", bytes(ether / solicit)).verdict == OK
    assert kernel.run("from_host", bytes(ether / ARP())).verdict == OK
    routed = IPv6(src="fe80::1", dst=worlds[6]["peer"]) / ICMPv6ND_NS(tgt="fe80::2")
    udp = IPv6(src="fe80::1", dst="fe80::2") / UDP()
    for bad in (routed, udp):
        assert kernel.run("from_container", bytes(ether / bad)).reasons == {(132, OUT)}


def test_unsupported_link_protocols(kernel, worlds) -> None:
    tagged = Ether() / Dot1Q(vlan=5) / IP(src=worlds[4]["pod"], dst=worlds[4]["peer"]) / TCP()
    odd = Ether(type=0x88CC) / Raw(b"x" * 50)
    for frame in (tagged, odd):
        outcome = kernel.run("from_container", bytes(frame))
        assert (outcome.verdict, outcome.reasons) == (SHOT, {(166, OUT)})
