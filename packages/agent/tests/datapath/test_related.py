# SPDX-License-Identifier: Apache-2.0
"""ICMP errors: of a connection that the endpoint has, or judged as what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from datapath_packets import (
    ICMP_PROTO,
    IN,
    OUT,
    REDIRECT,
    Talk,
    allow_all,
    deny_all,
    echo,
    frame,
    icmp_of,
    network,
    sctp,
    tcp,
    too_big,
    udp,
    unreachable,
)
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from cilium_core.layouts.events import EventType, TraceReason
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
FORWARDED = {(0, OUT)}
OUT_DENIED, IN_DENIED = {(133, OUT)}, {(133, IN)}


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return one_way(kernel, worlds, request.param)


def one_way(kernel, worlds, family: int) -> Talk:
    """The pod may send to the peer; nothing else is allowed to anyone."""
    made = Talk(kernel, family, worlds[family])
    kernel.rows({**deny_all(1), **deny_all(2)})
    rows = (RowKey(1, Direction.EGRESS), RowKey(2, Direction.INGRESS))
    kernel.rows(dict.fromkeys(rows, Row(any_allow=True)))
    kernel.enforce(POD, 1)
    kernel.enforce(PEER, 2)
    return made


def quoted(talk: Talk, body: Packet, source: str = "pod", target: str = "peer") -> Packet:
    """Return the packet that an error quotes."""
    return network(talk.family, talk.world[source], talk.world[target]) / body


KINDS = {
    "unreachable": unreachable,
    "too big": too_big,
    "time exceeded": lambda family, inner: icmp_of(family, 11 if family == 4 else 3) / inner,
    "parameter problem": lambda family, inner: icmp_of(family, 12 if family == 4 else 4) / inner,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transport", ["tcp", "udp", "sctp", "echo"])
def test_an_error_about_what_the_pod_sent(talk: Talk, transport: str, kind: str) -> None:
    """From the peer, from the host, from anybody on the way."""
    family = talk.family
    body = {"tcp": tcp(), "udp": udp(), "sctp": sctp(), "echo": echo(family)}[transport]
    fields = {"proto" if family == 4 else "nh": 132} if transport == "sctp" else {}
    assert talk.pod(body, **fields).reasons == FORWARDED
    inner = network(family, talk.world["pod"], talk.world["peer"], **fields) / body
    talk.kernel.ring.take()
    error = KINDS[kind](family, inner)
    proto = {"proto" if family == 4 else "nh": ICMP_PROTO[family]}
    assert talk.peer(error, **proto).reasons == FORWARDED
    router = frame(family, talk.world["world"], talk.world["pod"], error, **proto)
    assert talk.kernel.run("from_host", router).verdict == REDIRECT
    traces = [e for e in talk.kernel.ring.take() if e.type == EventType.TRACE]
    assert {e.state for e in traces} == {TraceReason.RELATED}
    assert len(traces) == 2
    assert talk.entry("pod", OUT).rx_packets == 0, "it is no answer"


def test_an_error_about_what_the_pod_got(talk: Talk) -> None:
    """The peer opened it: the pod's error about it leaves, and arrives."""
    kernel = talk.kernel
    kernel.rows({RowKey(1, Direction.INGRESS): Row(any_allow=True)})
    kernel.rows({RowKey(2, Direction.EGRESS, 17): Row(any_allow=True)})
    assert talk.peer(udp(5000, 53)).reasons == FORWARDED
    kernel.rows({RowKey(1, Direction.EGRESS): Row()})
    error = unreachable(talk.family, quoted(talk, udp(5000, 53), "peer", "pod"))
    assert talk.pod(error).reasons == FORWARDED
    assert talk.pod(error, "world").reasons == OUT_DENIED, "an error goes to whom it is about"
    redirect = icmp_of(talk.family, 5 if talk.family == 4 else 137)
    inner = quoted(talk, udp(5000, 53), "peer", "pod")
    proto = {"proto" if talk.family == 4 else "nh": ICMP_PROTO[talk.family]}
    assert talk.pod(redirect / inner, **proto).reasons == OUT_DENIED, "a redirect is no error"


MISFITS: dict[str, Callable[[Talk], Packet]] = {
    "another port": lambda talk: quoted(talk, udp(4000, 81)),
    "another protocol": lambda talk: quoted(talk, tcp()),
    "another target": lambda talk: quoted(talk, udp(), "pod", "remote"),
    "another sender": lambda talk: quoted(talk, udp(), "node", "peer"),
    "the other way round": lambda talk: quoted(talk, udp(80, 4000), "peer", "pod"),
    "an error inside": lambda talk: quoted(talk, unreachable(talk.family, quoted(talk, udp()))),
    "no transport header": lambda talk: quoted(talk, Raw(b"")),
    "half a transport header": lambda talk: quoted(talk, Raw(bytes(7))),
    "nothing": lambda talk: Raw(b""),
    "half a header": lambda talk: Raw(bytes(quoted(talk, udp()))[:19]),
    "the other family": lambda talk: (
        network(10 - talk.family, "10.0.0.10", "10.0.0.11") / udp()
        if talk.family == 6
        else network(6, "fd00::10", "fd00::11") / udp()
    ),
    "a wrong version": lambda talk: Raw(b"\x15" + bytes(quoted(talk, udp()))[1:]),
    "noise": lambda talk: Raw(bytes(range(256))),
}
V4_MISFITS: dict[str, Callable[[Talk], Packet]] = {
    "header length below five": lambda talk: Raw(b"\x44" + bytes(quoted(talk, udp()))[1:]),
    "header length beyond the end": lambda talk: Raw(b"\x4f" + bytes(quoted(talk, udp()))[1:]),
    "a later fragment": lambda talk: network(4, "10.0.0.10", "10.0.0.11", frag=9) / udp(),
}
V6_MISFITS: dict[str, Callable[[Talk], Packet]] = {
    "a later fragment": lambda talk: (
        network(6, "fd00::10", "fd00::11") / IPv6ExtHdrFragment(offset=9) / udp()
    ),
    "half a fragment header": lambda talk: network(6, "fd00::10", "fd00::11", nh=44) / Raw(b"\x11"),
}
ALL_MISFITS = {
    **{(family, name): made for name, made in MISFITS.items() for family in (4, 6)},
    **{(4, name): made for name, made in V4_MISFITS.items()},
    **{(6, name): made for name, made in V6_MISFITS.items()},
}


@pytest.mark.parametrize(("family", "name"), ALL_MISFITS)
def test_what_belongs_to_no_connection_is_judged(kernel, worlds, family: int, name: str) -> None:
    """As a message of its type: denied here, and allowed by a row for the type."""
    talk = one_way(kernel, worlds, family)
    talk.pod(udp())
    error = unreachable(family, ALL_MISFITS[family, name](talk))
    proto = {"proto" if family == 4 else "nh": ICMP_PROTO[family]}
    packet = frame(family, talk.world["world"], talk.world["pod"], error, **proto)
    assert kernel.run("from_host", packet).reasons == IN_DENIED
    row = RowKey(1, Direction.INGRESS, ICMP_PROTO[family], 3 if family == 4 else 1, 16)
    kernel.rows({row: Row(any_allow=True)})
    assert kernel.run("from_host", packet).verdict == REDIRECT


def test_a_quoted_fragment_header_is_read_through(kernel, worlds) -> None:
    """ "Packet too big" about what had been sent in pieces."""
    talk = Talk(kernel, 6, worlds[6])
    kernel.rows({**allow_all(1), RowKey(1, Direction.INGRESS): Row()})
    kernel.enforce(POD, 1)
    talk.pod(udp())
    inner = network(6, talk.world["pod"], talk.world["peer"]) / IPv6ExtHdrFragment(m=1) / udp()
    assert talk.peer(too_big(6, inner)).reasons == FORWARDED


def test_an_error_about_an_error_is_of_no_connection(talk: Talk) -> None:
    """Even where the place of an identifier holds that of an echo."""
    assert talk.pod(echo(talk.family, ident=0)).reasons == FORWARDED
    inner = quoted(talk, unreachable(talk.family, Raw(bytes(28))))
    packet = frame(
        talk.family, talk.world["world"], talk.world["pod"], unreachable(talk.family, inner)
    )
    assert talk.kernel.run("from_host", packet).reasons == IN_DENIED


def test_no_relation_to_what_is_over(talk: Talk) -> None:
    talk.pod(udp())
    error = unreachable(talk.family, quoted(talk, udp()))
    talk.kernel.expire(70)
    assert talk.peer(error).reasons == OUT_DENIED


def test_no_relation_to_what_policy_ended(talk: Talk) -> None:
    talk.pod(tcp())
    talk.kernel.rows({RowKey(1, Direction.EGRESS): Row()})
    talk.kernel.enforce(POD, 1, 2)
    assert talk.pod(tcp(flags="A")).reasons == OUT_DENIED
    error = unreachable(talk.family, quoted(talk, tcp()))
    router = frame(talk.family, talk.world["world"], talk.world["pod"], error)
    assert talk.kernel.run("from_host", router).reasons == IN_DENIED
