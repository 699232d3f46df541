# SPDX-License-Identifier: Apache-2.0
"""Services under policy: backends are judged and tracked, and only what arrives shows services."""

from __future__ import annotations

import pytest
from datapath_packets import (
    IN,
    OUT,
    REDIRECT,
    Talk,
    deny_all,
    frame,
    tcp,
    udp,
)
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import ServiceInfo, ServiceKey
from cilium_core.layouts.events import EventType
from cilium_core.layouts.policy import ConnectionKey
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
POD_IDENTITY, PEER_IDENTITY = 1001, 1002
FORWARDED = {(0, OUT)}


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def addresses(raw: bytes) -> tuple[str, str, int, int]:
    """Return (source, target, sport, dport), having checked every checksum in the frame."""
    parsed = Ether(raw)
    transport = parsed[TCP] if TCP in parsed else parsed[UDP]
    shown = (parsed.payload.src, parsed.payload.dst, transport.sport, transport.dport)
    whole = bytes(parsed)
    del transport.chksum
    if parsed.payload.version == 4:
        del parsed.payload.chksum
    assert bytes(parsed) == whole, "a checksum is wrong"
    return shown


def test_policies_judge_the_backend(talk: Talk) -> None:
    """Egress by the backend's identity and port, ingress by the backend's port."""
    kernel, world = talk.kernel, talk.world
    kernel.service(world["vip"], 80, 6, [(world["peer"], 8080)])
    kernel.rows({**deny_all(1), **deny_all(2)})
    kernel.enforce(POD, 1)
    kernel.enforce(PEER, 2)
    kernel.bits({(PEER_IDENTITY, 0): 1, (POD_IDENTITY, 0): 2})
    kernel.rows({RowKey(1, Direction.EGRESS, 6, 80, 16): Row(any_allow=True)})
    assert talk.pod(tcp(4001), "vip").reasons == {(133, OUT)}, "the service's port is nothing"
    kernel.rows({RowKey(1, Direction.EGRESS, 6, 8080, 16): Row(cells=(Cell(0, 1, 0, 0),))})
    assert talk.pod(tcp(4001), "vip").reasons == {(133, IN)}
    kernel.rows({RowKey(2, Direction.INGRESS, 6, 8080, 16): Row(cells=(Cell(0, 2, 0, 0),))})
    outcome = talk.pod(tcp(4001), "vip")
    assert outcome.reasons == FORWARDED
    assert addresses(outcome.frame) == (world["pod"], world["peer"], 4001, 8080)
    back = talk.peer(tcp(8080, 4001, "SA"))
    assert back.reasons == FORWARDED
    assert addresses(back.frame) == (world["vip"], world["pod"], 80, 4001)
    events = kernel.ring.take()
    pod, peer = pack_address(world["pod"]), pack_address(world["peer"])
    for event in events:
        ends = {(event.source, event.sport), (event.destination, event.dport)}
        assert ends <= {(pod, 4001), (peer, 8080)}, "events tell what was judged"
    assert {e.service_id for e in events if e.type == EventType.TRACE} == {80}


def test_entries_are_of_backends(talk: Talk) -> None:
    world = talk.world
    talk.kernel.service(world["vip"], 80, 17, [(world["peer"], 8080)])
    talk.pod(udp(4000, 80), "vip")
    talk.peer(udp(8080, 4000))
    pod, peer = pack_address(world["pod"]), pack_address(world["peer"])
    held = talk.kernel.connections()
    assert set(held) == {
        ConnectionKey(pod, peer, 4000, 8080, 17, OUT),
        ConnectionKey(peer, pod, 8080, 4000, 17, IN),
    }
    assert talk.entry("pod", OUT).service_id == 80
    assert talk.entry("peer", IN).service_id == 0
    assert talk.entry("pod", OUT).rx_packets == 1


def test_a_flow_older_than_its_service_is_translated_from_then_on(talk: Talk) -> None:
    """A resolver's socket that has asked in vain must not stay without an answer."""
    kernel, world = talk.kernel, talk.world
    outcome = talk.pod(udp(4000, 53), "vip")
    assert addresses(outcome.frame)[1] == world["vip"]
    kernel.service(world["vip"], 53, 17, [(world["peer"], 5353)])
    outcome = talk.pod(udp(4000, 53), "vip")
    assert addresses(outcome.frame) == (world["pod"], world["peer"], 4000, 5353)
    back = talk.peer(udp(5353, 4000))
    assert addresses(back.frame) == (world["vip"], world["pod"], 53, 4000)


def test_answers_are_translated_after_the_connection_was_forgotten(talk: Talk) -> None:
    """The connection table may lose entries under pressure: translations are enough."""
    kernel, world = talk.kernel, talk.world
    kernel.service(world["vip"], 80, 6, [(world["peer"], 8080)])
    talk.pod(tcp(), "vip")
    kernel.store.connections.delete_many(list(kernel.connections()))
    for _ in range(2):
        back = talk.peer(tcp(8080, 4000, "A"))
        assert addresses(back.frame) == (world["vip"], world["pod"], 80, 4000)


def test_direct_answers_of_a_backend_keep_their_source(talk: Talk) -> None:
    """Only the flows that came through the service."""
    kernel, world = talk.kernel, talk.world
    kernel.service(world["vip"], 80, 6, [(world["peer"], 8080)])
    talk.pod(tcp(4000, 80), "vip")
    talk.pod(tcp(4001, 8080), "peer")
    assert addresses(talk.peer(tcp(8080, 4001, "SA")).frame)[0] == world["peer"]
    assert addresses(talk.peer(tcp(8080, 4000, "SA")).frame)[0] == world["vip"]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_pod_reaches_itself(talk: Talk, transport: str) -> None:
    """Both its policies judge it; it sees the service on both sides and so answers through us."""
    kernel, world = talk.kernel, talk.world
    proto, body = (6, tcp) if transport == "tcp" else (17, udp)
    kernel.service(world["vip"], 80, proto, [(world["pod"], 8080)])
    kernel.rows(deny_all(1))
    kernel.enforce(POD, 1)
    kernel.bits({(POD_IDENTITY, 0): 1})
    own = Row(cells=(Cell(0, 1, 0, 0),))
    assert talk.pod(body(4000, 80), "vip").reasons == {(133, OUT)}
    kernel.rows({RowKey(1, Direction.EGRESS, proto, 8080, 16): own})
    assert talk.pod(body(4000, 80), "vip").reasons == {(133, IN)}
    kernel.rows({RowKey(1, Direction.INGRESS, proto, 8080, 16): own})
    for _ in range(2):
        there = talk.pod(body(4000, 80), "vip")
        assert there.reasons == FORWARDED
        assert addresses(there.frame) == (world["vip"], world["pod"], 4000, 8080)
        back = talk.pod(body(8080, 4000), "vip")
        assert back.reasons == FORWARDED
        assert addresses(back.frame) == (world["vip"], world["pod"], 80, 4000)
    pod = pack_address(world["pod"])
    held = kernel.connections()
    assert set(held) == {
        ConnectionKey(pod, pod, 4000, 8080, proto, OUT),
        ConnectionKey(pod, pod, 8080, 4000, proto, IN),
    }
    assert talk.entry("pod", IN).tx_packets == talk.entry("pod", IN).rx_packets == 2
    assert talk.entry("pod", OUT).rx_packets == 2


def test_hosts_answers_to_pods_through_a_service(talk: Talk) -> None:
    """The backend is the node itself: its answer comes by cilium_host."""
    kernel, world = talk.kernel, talk.world
    kernel.service(world["vip"], 443, 6, [(world["node"], 6443)])
    kernel.rows(deny_all(1))
    kernel.rows({RowKey(1, Direction.EGRESS): Row(any_allow=True)})
    kernel.enforce(POD, 1)
    assert addresses(talk.pod(tcp(4000, 443), "vip").frame)[1:] == (world["node"], 4000, 6443)
    answer = frame(talk.family, world["node"], world["pod"], tcp(6443, 4000, "SA"))
    outcome = kernel.run("from_host", answer)
    assert outcome.verdict == REDIRECT
    assert addresses(outcome.frame) == (world["vip"], world["pod"], 443, 4000)


def test_a_connection_to_a_service_that_lost_its_frontend_goes_on(talk: Talk) -> None:
    kernel, world = talk.kernel, talk.world
    kernel.service(world["vip"], 80, 6, [(world["peer"], 8080)])
    talk.pod(tcp(), "vip")
    kernel.store.services.delete([ServiceKey(pack_address(world["vip"]), 80, 6)])
    assert addresses(talk.pod(tcp(flags="A"), "vip").frame)[1] == world["peer"]
    kernel.store.services.upsert(
        {ServiceKey(pack_address(world["vip"]), 80, 6): ServiceInfo(80, 1)}
    )
