# SPDX-License-Identifier: Apache-2.0
"""What the ring says: which events, when, with what in them, and how many were lost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from datapath_packets import IN, OUT, Talk, deny_all, echo, frame, icmp_of, tcp, udp

from cilium_agent.datapath.reporting import report_events
from cilium_core.addresses import pack_address
from cilium_core.layouts.events import (
    RING_BYTES,
    Event,
    EventFlag,
    EventType,
    ObservationPoint,
    TraceReason,
)
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
DROP, TRACE, VERDICT = EventType.DROP, EventType.TRACE, EventType.POLICY_VERDICT


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def taken(talk: Talk, kind: EventType) -> list[Event]:
    return [event for event in talk.kernel.ring.take() if event.type == kind]


def test_a_drop(talk: Talk) -> None:
    kernel, world = talk.kernel, talk.world
    kernel.rows(deny_all(9))
    kernel.enforce(PEER, 9, 4)
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    packet = frame(talk.family, world["pod"], world["peer"], tcp(4000, 80, "SEC", b"12345"))
    kernel.run("from_container", packet)
    (event,) = taken(talk, DROP)
    assert before < event.time < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert event.line > 0
    flags = EventFlag.IPV6 if talk.family == 6 else 0
    assert replace(event, time=0, line=0) == Event(
        time=0,
        type=DROP,
        subtype=133,
        direction=IN,
        flags=flags,
        state=TraceReason.NEW,
        match=0,
        proto=6,
        tcp_flags=0xC2,
        source_identity=1001,
        destination_identity=1002,
        source=pack_address(world["pod"]),
        destination=pack_address(world["peer"]),
        sport=4000,
        dport=80,
        endpoint_id=PEER,
        icmp_type=0,
        icmp_code=0,
        ifindex=kernel.pod_ifindex,
        length=len(packet),
        policy=9,
        revision=4,
        bits=0,
        word=0,
        row_prefixlen=40,
        service_id=0,
        line=0,
        proxy_port=0,
        tx_packets=0,
        rx_packets=0,
    )


def test_every_drop_of_a_parsed_packet_is_told(talk: Talk) -> None:
    kernel, world = talk.kernel, talk.world
    spoofed = frame(talk.family, world["peer"], world["pod"], tcp())
    last_hop = frame(
        talk.family,
        world["pod"],
        world["peer"],
        tcp(),
        **{"ttl" if talk.family == 4 else "hlim": 1},
    )
    nowhere = frame(talk.family, world["node"], world["world"], tcp())
    kernel.service(world["vip"], 80, 6, [])
    no_backend = frame(talk.family, world["pod"], world["vip"], tcp())
    for program, packet, reason, endpoint in (
        ("from_container", spoofed, 132, 0),
        ("from_container", last_hop, 196, POD),
        ("from_host", nowhere, 151, 0),
        ("from_container", no_backend, 158, POD),
        ("from_overlay", no_backend, 147, 0),
    ):
        assert kernel.run(program, packet).verdict == 2
        (event,) = taken(talk, DROP)
        assert (event.subtype, event.endpoint_id, event.proto) == (reason, endpoint, 6), reason
        assert (event.sport, event.dport) == (4000, 80)


POINTS = {
    "peer": (ObservationPoint.TO_ENDPOINT, PEER, IN),
    "node": (ObservationPoint.TO_HOST, POD, OUT),
    "world": (ObservationPoint.TO_STACK, POD, OUT),
    "remote": (ObservationPoint.TO_OVERLAY, POD, OUT),
}
IDENTITIES = {"peer": 1002, "node": 1, "world": 2, "remote": 2, "remote_listed": 1003}


@pytest.mark.parametrize("target", POINTS)
def test_a_trace(talk: Talk, target: str) -> None:
    """One event a packet, where it leaves us, by the endpoint that judged it last."""
    kernel, point = talk.kernel, POINTS[target]
    talk.pod(udp(), target)
    (event,) = kernel.ring.take()
    assert (event.type, event.subtype) == (TRACE, point[0])
    assert (event.endpoint_id, event.direction, event.state) == (*point[1:], TraceReason.NEW)
    assert event.destination_identity == IDENTITIES[target]
    ifindex = {"peer": kernel.peer_ifindex, "remote": kernel.overlay_ifindex}.get(target, 0)
    assert (event.ifindex, event.tx_packets, event.rx_packets) == (ifindex, 1, 0)


def test_icmp_in_events(talk: Talk) -> None:
    talk.pod(echo(talk.family, ident=77))
    (event,) = taken(talk, TRACE)
    kind = 8 if talk.family == 4 else 128
    assert (event.icmp_type, event.icmp_code, event.sport, event.dport) == (kind, 0, 77, 77)
    proto = {"proto": 1} if talk.family == 4 else {"nh": 58}
    talk.pod(icmp_of(talk.family, 3 if talk.family == 4 else 1, 4), **proto)
    (event,) = taken(talk, TRACE)
    assert (event.icmp_code, event.state, event.sport) == (4, TraceReason.NEW, 0)


def test_what_a_connection_reports(talk: Talk) -> None:
    """Its beginning, each side's first SYN and FIN, its end; packets between only after a while."""
    reports = []
    for sender, flags in (
        ("pod", "S"), ("peer", "SA"), ("pod", "A"), ("peer", "A"), ("pod", "PA"),
        ("peer", "FA"), ("peer", "FA"), ("pod", "A"), ("pod", "FA"), ("peer", "A"),
    ):  # fmt: skip
        ports = (4000, 80) if sender == "pod" else (80, 4000)
        getattr(talk, sender)(tcp(*ports, flags))
        for event in taken(talk, TRACE):
            reports.append((sender, flags, TraceReason(event.state).name, event.flags & 4))
    assert reports == [
        ("pod", "S", "NEW", 0),
        ("peer", "SA", "REPLY", 0),
        ("peer", "FA", "REPLY", 0),
        ("pod", "FA", "ESTABLISHED", EventFlag.CLOSE),
    ]


def test_traffic_is_told_once_an_interval(talk: Talk) -> None:
    talk.pod(udp())
    assert len(taken(talk, TRACE)) == 1
    for _ in range(5):
        talk.pod(udp())
    assert not taken(talk, TRACE)
    connections = talk.kernel.store.connections

    def older(seconds: int) -> None:
        for key, info in talk.kernel.connections().items():
            reported = info.tx_reported - seconds
            connections.update_many({key: replace(info, tx_reported=reported)})

    older(3)  # a second may end meanwhile
    talk.pod(udp())
    assert not taken(talk, TRACE)
    older(2)
    talk.pod(udp())
    (event,) = taken(talk, TRACE)
    assert (event.state, event.tx_packets, event.rx_packets) == (TraceReason.ESTABLISHED, 8, 0)
    talk.pod(udp())
    assert not taken(talk, TRACE)
    talk.peer(udp(80, 4000))  # the other side has an interval of its own
    (event,) = taken(talk, TRACE)
    assert (event.state, event.tx_packets, event.rx_packets) == (TraceReason.REPLY, 9, 1)


def test_verdicts_of_both_ends(talk: Talk) -> None:
    kernel = talk.kernel
    kernel.rows(
        {RowKey(1, Direction.EGRESS): Row(any_allow=True), RowKey(2, Direction.INGRESS): Row()}
    )
    kernel.enforce(POD, 1, 3)
    kernel.enforce(PEER, 2, 5)
    talk.pod(udp())
    events = kernel.ring.take()
    assert [
        (e.type, e.subtype, e.direction, e.endpoint_id, e.policy, e.revision) for e in events
    ] == [
        (VERDICT, 0, OUT, POD, 1, 3),
        (VERDICT, 133, IN, PEER, 2, 5),
        (DROP, 133, IN, PEER, 2, 5),
    ]


@pytest.mark.parametrize("wanted", [[], [DROP], [TRACE], [VERDICT], [DROP, TRACE]])
def test_only_what_is_wanted(talk: Talk, wanted: list[EventType]) -> None:
    kernel = talk.kernel
    kernel.rows({**deny_all(1), RowKey(1, Direction.EGRESS, 17): Row(any_allow=True)})
    kernel.enforce(POD, 1)
    report_events(kernel.store, wanted)
    talk.pod(udp())
    talk.pod(tcp())
    assert {event.type for event in kernel.ring.take()} == set(wanted)


def test_settings_are_in_force_at_once(talk: Talk) -> None:
    report_events(talk.kernel.store, [TRACE], interval=0)
    for _ in range(3):
        talk.pod(udp())
    assert len(talk.kernel.ring.take()) == 3
    report_events(talk.kernel.store, [TRACE], tcp_flags=0x08)
    for flags in ("S", "A", "PA", "PA"):
        talk.pod(tcp(flags=flags))
    assert [event.tcp_flags for event in talk.kernel.ring.take()] == [0x02, 0x18]


def test_lost_events_are_counted_by_type(kernel, worlds) -> None:
    """A full ring: what is in it stays, what came after is counted, and no packet suffers."""
    talk = Talk(kernel, 4, worlds[4])
    kernel.rows(deny_all(1))
    kernel.rows({RowKey(1, Direction.EGRESS, 17): Row(any_allow=True)})
    kernel.enforce(POD, 1)
    before = kernel.store.lost_events.totals()
    room = RING_BYTES // (8 + Event.SIZE)
    report_events(kernel.store, interval=0)
    dropped = frame(4, talk.world["pod"], talk.world["peer"], tcp())
    kernel.repeat("from_container", dropped, room + 100)  # two events each
    talk.pod(udp())
    talk.pod(udp())
    held = kernel.ring.take()
    lost = kernel.store.lost_events.totals()
    new = {kind: lost[kind] - before.get(kind, 0) for kind in lost}
    seen = {kind: sum(event.type == kind for event in held) for kind in EventType}
    assert len(held) in (room, room - 1)
    assert seen[DROP] + new[DROP] == room + 100
    assert seen[VERDICT] + new[VERDICT] == room + 100 + 1
    assert new[TRACE] == 2
    assert talk.pod(udp()).reasons == {(0, OUT)}
    assert len(kernel.ring.take()) == 1, "there is room again"
