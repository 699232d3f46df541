# SPDX-License-Identifier: Apache-2.0
"""Datagrams in pieces: the first piece's ports decide for all, and none passes before it."""

from __future__ import annotations

from typing import Any

import pytest
from datapath_packets import ICMP_PROTO, IN, OUT, PROTO, Talk, deny_all, frame
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from cilium_core.layouts.events import EventFlag, EventType
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey

pytestmark = pytest.mark.root

POD = 7
FORWARDED, NOT_FOUND = {(0, OUT)}, {(175, OUT)}
MAC = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:fe"}


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def first(talk: Talk, body: Packet, ident: int = 5, target: str = "peer") -> bytes:
    """Return the first piece, which has the transport header."""
    source, goal = talk.world["pod"], talk.world[target]
    if talk.family == 4:
        return bytes(Ether(**MAC) / IP(src=source, dst=goal, flags="MF", id=ident) / body)
    head = IPv6(src=source, dst=goal) / IPv6ExtHdrFragment(m=1, id=ident)
    return bytes(Ether(**MAC) / head / body)


def later(
    talk: Talk, proto: int, ident: int = 5, target: str = "peer", more: int = 0, at: int = 9
) -> bytes:
    """Return a later piece; `at` counts eights of bytes."""
    source, goal = talk.world["pod"], talk.world[target]
    tail = Raw(b"tail" * 4)
    if talk.family == 4:
        ip = IP(src=source, dst=goal, id=ident, frag=at, proto=proto, flags="MF" if more else 0)
        return bytes(Ether(**MAC) / ip / tail)
    head = IPv6ExtHdrFragment(nh=proto, offset=at, id=ident, m=more)
    return bytes(Ether(**MAC) / IPv6(src=source, dst=goal) / head / tail)


def send(talk: Talk, packet: bytes) -> Any:
    return talk.kernel.run("from_container", packet)


def bodies(family: int) -> dict[str, tuple[int, Packet]]:
    ping = ICMP(id=9) if family == 4 else ICMPv6EchoRequest(id=9)
    padding = Raw(bytes(64))
    return {
        "tcp": (6, TCP(sport=4000, dport=80) / padding),
        "udp": (17, UDP(sport=4000, dport=80) / padding),
        "sctp": (132, Raw(b"\x0f\xa0\x00\x50" + bytes(68))),
        "echo": (ICMP_PROTO[family], ping / padding),
    }


@pytest.mark.parametrize("name", ["tcp", "udp", "sctp", "echo"])
def test_pieces_go_the_first_ones_way(talk: Talk, name: str) -> None:
    proto, body = bodies(talk.family)[name]
    port = (8 if talk.family == 4 else 128) if name == "echo" else 80
    talk.kernel.rows(deny_all(1))
    talk.kernel.rows({RowKey(1, Direction.EGRESS, proto, port, 16): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1)
    head = first(talk, body)
    if talk.family == 4:
        head = head[:23] + bytes([proto]) + head[24:]
    else:
        head = head[:54] + bytes([proto]) + head[55:]
    assert send(talk, later(talk, proto)).reasons == NOT_FOUND, "before the first one"
    assert send(talk, head).reasons == FORWARDED
    assert send(talk, later(talk, proto, more=1)).reasons == FORWARDED
    assert send(talk, later(talk, proto)).reasons == FORWARDED
    assert talk.entry("pod", OUT).tx_packets == 3, "all count for the connection"
    flags = {e.flags & EventFlag.FRAGMENT for e in talk.kernel.ring.take()}
    assert flags == {EventFlag.FRAGMENT}


def test_pieces_of_what_is_denied_are_denied(talk: Talk) -> None:
    talk.kernel.rows(deny_all(1))
    talk.kernel.enforce(POD, 1)
    assert send(talk, first(talk, UDP() / Raw(bytes(64)))).reasons == {(133, OUT)}
    assert send(talk, later(talk, 17)).reasons == {(133, OUT)}


@pytest.mark.parametrize(
    "other", [{"ident": 6}, {"proto": 6}, {"target": "remote"}], ids=["ident", "protocol", "target"]
)
def test_another_datagrams_pieces(talk: Talk, other: dict[str, Any]) -> None:
    send(talk, first(talk, UDP() / Raw(bytes(64))))
    assert send(talk, later(talk, **{"proto": 17, **other})).reasons == NOT_FOUND


def test_a_whole_packet_with_a_fragment_header(kernel, worlds) -> None:
    """No more to come and at the start: it is no fragment."""
    talk = Talk(kernel, 6, worlds[6])
    kernel.rows(deny_all(1))
    kernel.rows({RowKey(1, Direction.EGRESS, 17, 80, 16): Row(any_allow=True)})
    kernel.enforce(POD, 1)
    packet = frame(6, talk.world["pod"], talk.world["peer"], IPv6ExtHdrFragment() / UDP(dport=80))
    assert send(talk, packet).reasons == FORWARDED
    assert not list(kernel.store.fragments.items())


def test_extension_headers_behind_the_fragment_header(kernel, worlds) -> None:
    """Only the first piece has them, but every piece's fragment header names the next one."""
    talk = Talk(kernel, 6, worlds[6])
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    kernel.rows(deny_all(1))
    kernel.rows({RowKey(1, Direction.EGRESS, 17, 80, 16): Row(any_allow=True)})
    kernel.enforce(POD, 1)
    assert send(talk, first(talk, options / UDP(dport=80) / Raw(bytes(64)))).reasons == FORWARDED
    assert send(talk, later(talk, 60)).reasons == FORWARDED


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_services_translate_all_pieces(talk: Talk, transport: str) -> None:
    world, proto = talk.world, PROTO[transport]
    talk.kernel.service(world["vip"], 80, proto, [(world["peer"], 8080)])
    _, body = bodies(talk.family)[transport]
    outcome = send(talk, first(talk, body, target="vip"))
    assert outcome.reasons == FORWARDED
    head = Ether(outcome.frame)
    assert (head.payload.dst, head[TCP if transport == "tcp" else UDP].dport) == (
        world["peer"],
        8080,
    )
    outcome = send(talk, later(talk, proto, target="vip"))
    tail = Ether(outcome.frame)
    assert tail.payload.dst == world["peer"]
    assert outcome.frame.endswith(b"tail" * 4)
    if talk.family == 4:
        raw = bytes(tail)
        del tail[IP].chksum
        assert bytes(tail) == raw, "the header's checksum is wrong"


def test_pieces_to_a_pod_from_the_stack(talk: Talk) -> None:
    kernel, world = talk.kernel, talk.world
    kernel.rows(deny_all(2))
    kernel.rows({RowKey(2, Direction.INGRESS, 17, 80, 16): Row(any_allow=True)})
    kernel.enforce(8, 2)
    talk.world = {**world, "pod": world["world"]}
    assert kernel.run("from_host", later(talk, 17)).reasons == NOT_FOUND
    assert kernel.run("from_host", first(talk, UDP(dport=80) / Raw(bytes(64)))).verdict == 7
    assert kernel.run("from_host", later(talk, 17)).verdict == 7
    first_denied = first(talk, UDP(dport=81) / Raw(bytes(64)), ident=6)
    assert kernel.run("from_host", first_denied).reasons == {(133, IN)}
    drops = [e for e in kernel.ring.take() if e.type == EventType.DROP]
    assert [e.subtype for e in drops] == [175, 133]
