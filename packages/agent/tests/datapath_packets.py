# SPDX-License-Identifier: Apache-2.0
"""Frames of both families for the datapath's tests, as a pod or the stack sends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from cilium_core.addresses import pack_address
from cilium_core.layouts.policy import ConnectionInfo
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey

IN, OUT = 1, 2
OK, SHOT, REDIRECT = 0, 2, 7
HOST_MARK = 0x0C00
ICMP_PROTO = {4: 1, 6: 58}
PROTO = {"tcp": 6, "udp": 17, "sctp": 132}


def network(family: int, source: str, target: str, **fields: object) -> Packet:
    """Return the network header alone."""
    return (IP if family == 4 else IPv6)(src=source, dst=target, **fields)


def frame(family: int, source: str, target: str, body: Packet, **fields: object) -> bytes:
    """Return a whole frame."""
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:fe")
    return bytes(ether / network(family, source, target, **fields) / body)


def tcp(sport: int = 4000, dport: int = 80, flags: str = "S", payload: bytes = b"") -> Packet:
    """Return a TCP segment."""
    return TCP(sport=sport, dport=dport, flags=flags) / Raw(payload)


def udp(sport: int = 4000, dport: int = 80, payload: bytes = b"x") -> Packet:
    """Return a UDP datagram."""
    return UDP(sport=sport, dport=dport) / Raw(payload)


def sctp(sport: int = 4000, dport: int = 80) -> Packet:
    """Return an SCTP common header."""
    return Raw(sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(12))


def echo(family: int, ident: int = 7, reply: bool = False) -> Packet:
    """Return an echo request or reply."""
    if family == 4:
        return ICMP(type=0 if reply else 8, id=ident) / Raw(b"ping")
    return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=ident) / Raw(b"ping")


def unreachable(family: int, inner: Packet) -> Packet:
    """Return "port unreachable" that quotes a packet."""
    if family == 4:
        return ICMP(type=3, code=3) / inner
    return ICMPv6DestUnreach(code=4) / inner


def too_big(family: int, inner: Packet) -> Packet:
    """Return "fragmentation needed" or "packet too big" that quotes a packet."""
    return ICMP(type=3, code=4) / inner if family == 4 else ICMPv6PacketTooBig() / inner


def icmp_of(family: int, kind: int, code: int = 0) -> Packet:
    """Return a bare ICMP message of a type."""
    raw = bytes([kind, code, 0, 0, 0, 0, 0, 0])
    return Raw(raw)


BODIES: dict[str, Callable[..., Packet]] = {"tcp": tcp, "udp": udp, "sctp": sctp}


def allow_all(policy: int) -> dict[RowKey, Row]:
    """Return rows that allow everything in both directions."""
    return {RowKey(policy, direction): Row(any_allow=True) for direction in Direction}


def deny_all(policy: int) -> dict[RowKey, Row]:
    """Return rows that allow nothing: default deny without a rule."""
    return {RowKey(policy, direction): Row() for direction in Direction}


@dataclass
class Talk:
    """Two pods of the known world, `pod` (endpoint 7) and `peer` (8), that send to each other."""

    kernel: Any
    family: int
    world: dict[str, str]

    def pod(self, body: Packet, target: str = "peer", **fields: object) -> Any:
        """Send from the pod."""
        packet = frame(self.family, self.world["pod"], self.world[target], body, **fields)
        return self.kernel.run("from_container", packet, ifindex=self.kernel.pod_ifindex)

    def peer(self, body: Packet, target: str = "pod", **fields: object) -> Any:
        """Send from the peer."""
        packet = frame(self.family, self.world["peer"], self.world[target], body, **fields)
        return self.kernel.run("from_container", packet, ifindex=self.kernel.peer_ifindex)

    def entry(self, local: str, direction: int) -> ConnectionInfo:
        """Return the only connection of an endpoint in a direction."""
        (found,) = (
            info
            for key, info in self.kernel.connections().items()
            if key.local == pack_address(self.world[local]) and key.direction == direction
        )
        return found
