# SPDX-License-Identifier: Apache-2.0
"""Packets that L7 rules govern: where they are led, what is left of them, and proxies' own legs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from datapath_packets import (
    IN,
    OK,
    OUT,
    REDIRECT,
    SHOT,
    Talk,
    allow_all,
    deny_all,
    frame,
    sctp,
    tcp,
    udp,
)
from datapath_proxy import Proxy
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from cilium_agent.datapath.redirects import KernelRedirects
from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey
from cilium_core.layouts.events import EventType, ObservationPoint
from cilium_core.layouts.policy import ConnectionFlag
from cilium_core.layouts.redirect import BLOCK
from cilium_core.marks import Mark
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8  # endpoint ids of the known world
PEER_IDENTITY, WORLD = 1002, 2
EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
GONE, NO_LISTENER, DENY = 178, 180, 181
PORT, OTHER, LEG = 10_001, 10_002, 61_001
LED = Row(any_l7=True)
PROXY, TURNED = ConnectionFlag.PROXY, ConnectionFlag.TURNED


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


@pytest.fixture
def proxy(kernel) -> Iterator[Proxy]:
    with Proxy(kernel.namespace, PORT, Mark.EGRESS_PROXY) as made:
        yield made


def lead(kernel, port: int = PORT, identity: int = 0, direction=EGRESS, row: Row = LED, **key):
    """Have the pod's (or at ingress the peer's) policy 5 lead port 80 somewhere."""
    at = RowKey(5, direction, key.get("protocol", 6), key.get("first", 80), key.get("bits", 16))
    kernel.rows({at: row})
    KernelRedirects(kernel.store).write({(at, identity): port})
    kernel.enforce(POD if direction is EGRESS else PEER, 5, key.get("revision", 1))


def drops(outcome) -> set[int]:
    return {reason for reason, _ in outcome.reasons if reason}


def test_a_first_packet_is_marked_and_goes_to_the_stack(talk: Talk, proxy) -> None:
    lead(talk.kernel)
    outcome = talk.pod(tcp())
    assert (outcome.verdict, outcome.mark, outcome.reasons) == (OK, Mark.TO_PROXY, {(0, OUT)})
    entry = talk.entry("pod", OUT)
    assert (entry.flags & PROXY, entry.proxy_port) == (PROXY, PORT)
    assert len(talk.kernel.connections()) == 1, "the peer sees the proxy's leg only"
    verdict, trace = talk.kernel.ring.take()
    assert (verdict.type, verdict.subtype, verdict.proxy_port) == (
        EventType.POLICY_VERDICT,
        0,
        PORT,
    )
    assert (trace.subtype, trace.proxy_port) == (ObservationPoint.TO_PROXY, PORT)


def test_later_packets_go_the_same_way_and_answers_come_back(talk: Talk, proxy) -> None:
    lead(talk.kernel)
    talk.pod(tcp())
    answer = frame(talk.family, talk.world["peer"], talk.world["pod"], tcp(80, 4000, "SA"))
    for mark in (0, Mark.DNS_PROXY):
        assert talk.kernel.run("from_host", answer, mark=mark).verdict == REDIRECT
    outcome = talk.pod(tcp(flags="A"))
    assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)


def test_udp(talk: Talk, proxy) -> None:
    lead(talk.kernel, protocol=17)
    outcome = talk.pod(udp())
    assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)


def test_at_the_receiver(talk: Talk, proxy) -> None:
    """From a pod here, from another node, and from the node's stack, which takes it back in."""
    lead(talk.kernel, direction=INGRESS)
    outcome = talk.pod(tcp())
    assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)
    assert talk.entry("peer", IN).proxy_port == PORT
    assert not talk.entry("pod", OUT).flags & PROXY
    other = frame(talk.family, talk.world["world"], talk.world["peer"], tcp())
    outcome = talk.kernel.run("from_host", other)
    assert (outcome.verdict, outcome.mark) == (REDIRECT, Mark.TO_PROXY)
    probe = frame(talk.family, talk.world["node"], talk.world["peer"], tcp())
    outcome = talk.kernel.run("from_host", probe)
    assert (outcome.verdict, outcome.mark) == (REDIRECT, 0), "the node's own is not governed"


ROWS = {
    "everyone": (LED, {}, 0, PORT),
    "everyone, and a peer of its own": (LED, {}, PEER_IDENTITY, PORT),
    "a peer": (Row(cells=(Cell(2, 0, 0, 1),)), {2: 1}, PEER_IDENTITY, PORT),
    "over allow": (Row(True, cells=(Cell(2, 0, 0, 1),)), {2: 1}, PEER_IDENTITY, PORT),
    "another identity's": (Row(cells=(Cell(2, 0, 0, 1),)), {2: 1}, 1003, NO_LISTENER),
    "no such peer": (Row(cells=(Cell(2, 0, 0, 1),)), {2: 2}, PEER_IDENTITY, 133),
    "denied": (Row(cells=(Cell(1, 0, 1, 0), Cell(2, 0, 0, 1))), {1: 1, 2: 1}, 0, DENY),
}


@pytest.mark.parametrize("name", ROWS)
def test_which_peers(kernel, worlds, proxy, name: str) -> None:
    row, bits, identity, wanted = ROWS[name]
    lead(kernel, identity=identity, row=row)
    kernel.bits({(PEER_IDENTITY, word): mask for word, mask in bits.items()})
    outcome = Talk(kernel, 4, worlds[4]).pod(tcp())
    if wanted == PORT:
        assert (outcome.mark, drops(outcome)) == (Mark.TO_PROXY, set())
    else:
        assert (outcome.verdict, drops(outcome)) == (SHOT, {wanted})


@pytest.mark.parametrize(("port", "bits"), [(80, 16), (80, 12), (64, 10), (0, 1), (0, 0)])
def test_the_row_s_own_prefix_is_asked_for(kernel, worlds, proxy, port: int, bits: int) -> None:
    lead(kernel, first=port, bits=bits)
    assert Talk(kernel, 4, worlds[4]).pod(tcp()).mark == Mark.TO_PROXY
    other = RowKey(5, EGRESS, 6, 80, 15)
    kernel.rows({other: LED})
    longer = bits < 15
    outcome = Talk(kernel, 4, worlds[4]).pod(tcp(4001))
    assert drops(outcome) == ({NO_LISTENER} if longer else set())


def test_without_a_listener_it_is_dropped_until_there_is_one(talk: Talk) -> None:
    lead(talk.kernel)
    assert drops(talk.pod(tcp())) == {GONE}
    assert drops(talk.pod(tcp())) == {GONE}
    with Proxy(talk.kernel.namespace, PORT, Mark.EGRESS_PROXY):
        assert talk.pod(tcp()).mark == Mark.TO_PROXY
    assert drops(talk.pod(tcp(4001))) == {GONE}


def test_protocols_that_no_proxy_speaks(kernel, worlds, proxy) -> None:
    kernel.rows({RowKey(5, EGRESS): LED})
    kernel.enforce(POD, 5)
    KernelRedirects(kernel.store).write({(RowKey(5, EGRESS), 0): PORT})
    packet = frame(4, worlds[4]["pod"], worlds[4]["peer"], sctp(), proto=132)
    assert drops(kernel.run("from_container", packet)) == {NO_LISTENER}


def test_a_connection_older_than_the_rules(talk: Talk, proxy) -> None:
    """It is led to the listener, which resets it; the client's own reset reaches the server."""
    kernel = talk.kernel
    kernel.rows(allow_all(5))
    kernel.enforce(POD, 5)
    assert talk.pod(tcp()).verdict == REDIRECT
    talk.peer(tcp(80, 4000, "SA"))
    lead(kernel, revision=2)
    assert talk.peer(tcp(80, 4000, "A")).verdict == REDIRECT, "answers pass until then"
    outcome = talk.pod(tcp(flags="A"))
    assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)
    assert talk.entry("pod", OUT).flags & (PROXY | TURNED) == PROXY | TURNED
    assert talk.pod(tcp(flags="A")).mark == Mark.TO_PROXY
    assert talk.pod(tcp(flags="R")).verdict == REDIRECT


def segment(talk: Talk, raw: bytes) -> TCP:
    """Return the segment, its checksum compared with the right one."""
    parsed = Ether(raw)
    held = parsed[TCP].chksum
    layer = IP if talk.family == 4 else IPv6
    del parsed[TCP].chksum
    again = Ether(bytes(parsed))
    assert again[TCP].chksum == held
    assert again[layer].src
    return again[TCP]


def test_another_rule_set_resets_the_proxy_s_connection(talk: Talk, proxy) -> None:
    lead(talk.kernel)
    talk.pod(tcp())
    assert str(segment(talk, talk.pod(tcp(flags="PA", payload=b"x")).frame).flags) == "PA"
    with Proxy(talk.kernel.namespace, OTHER, Mark.EGRESS_PROXY):
        lead(talk.kernel, OTHER, revision=2)
        outcome = talk.pod(tcp(flags="PA", payload=b"x"))
        assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)
        assert str(segment(talk, outcome.frame).flags) == "RA"
        assert talk.entry("pod", OUT).proxy_port == OTHER
        again = talk.pod(tcp(flags="PA", payload=b"x"))
        assert str(segment(talk, again.frame).flags) == "PA", "this meets the new listener"


def test_another_block_does_not(talk: Talk, proxy) -> None:
    lead(talk.kernel)
    talk.pod(tcp())
    with Proxy(talk.kernel.namespace, PORT + BLOCK, Mark.EGRESS_PROXY):
        lead(talk.kernel, PORT + BLOCK, revision=2)
        outcome = talk.pod(tcp(flags="PA", payload=b"x"))
    assert str(segment(talk, outcome.frame).flags) == "PA"
    assert talk.entry("pod", OUT).proxy_port == PORT + BLOCK


def test_no_longer_led(talk: Talk, proxy) -> None:
    kernel = talk.kernel
    lead(kernel)
    talk.pod(tcp())
    kernel.rows({RowKey(5, EGRESS, 6, 80, 16): Row(any_allow=True)})
    kernel.enforce(POD, 5, 2)
    assert talk.pod(tcp(flags="A")).verdict == REDIRECT
    assert not talk.entry("pod", OUT).flags & PROXY


def test_a_pod_from_a_leg_s_port_is_refused(talk: Talk, proxy) -> None:
    lead(talk.kernel)
    assert drops(talk.pod(tcp(LEG))) == {NO_LISTENER}


# --- legs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [Mark.EGRESS_PROXY, Mark.DNS_PROXY])
def test_a_leg_to_a_pod_here_and_its_answer(talk: Talk, mark: Mark) -> None:
    """The receiver judges it with the pod's identity, and the answer is the proxy's."""
    kernel = talk.kernel
    kernel.rows({**deny_all(5), RowKey(6, INGRESS): Row(cells=(Cell(0, 1, 0, 0),)), **allow_all(7)})
    kernel.enforce(POD, 5)
    kernel.enforce(PEER, 6)
    out = frame(talk.family, talk.world["pod"], talk.world["peer"], tcp(LEG))
    assert drops(kernel.run("from_host", out, mark=mark)) == {133}
    kernel.bits({(1001, 0): 1})
    kernel.store.ipcache.upsert(pods_of(talk))
    assert kernel.run("from_host", out, mark=mark).verdict == REDIRECT
    outcome = talk.peer(tcp(80, LEG, "SA"))
    assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY)
    assert drops(talk.peer(tcp(81, LEG, "SA"))), "what answers no leg is the pod's"


def pods_of(talk: Talk):
    return {
        IpcacheKey(*pack_network(talk.world[name])): IpcacheInfo(identity)
        for name, identity in (("pod", 1001), ("peer", PEER_IDENTITY))
    }


def test_a_leg_to_the_governed_pod_skips_its_policy(talk: Talk) -> None:
    kernel = talk.kernel
    kernel.rows(deny_all(6))
    kernel.enforce(PEER, 6)
    for client in ("pod", "world", "remote"):
        leg = frame(talk.family, talk.world[client], talk.world["peer"], tcp(LEG))
        outcome = kernel.run("from_host", leg, mark=Mark.INGRESS_PROXY)
        assert (outcome.verdict, drops(outcome)) == (REDIRECT, set())
        outcome = talk.peer(tcp(80, LEG, "SA"), client)
        assert (outcome.verdict, outcome.mark) == (OK, Mark.TO_PROXY), client
        plain = frame(talk.family, talk.world[client], talk.world["peer"], tcp(4000))
        assert drops(kernel.run("from_host", plain, mark=Mark.INGRESS_PROXY)) == {133}


def test_a_leg_and_a_client_with_one_port(talk: Talk, proxy) -> None:
    """A remote client may come from a leg's port; its connection and the leg's stay two."""
    kernel = talk.kernel
    lead(kernel, direction=INGRESS)
    client = frame(talk.family, talk.world["world"], talk.world["peer"], tcp(LEG))
    assert kernel.run("from_host", client).mark == Mark.TO_PROXY
    assert kernel.run("from_host", client, mark=Mark.INGRESS_PROXY).mark == Mark.INGRESS_PROXY
    assert {(key.leg, info.proxy_port) for key, info in kernel.connections().items()} == {
        (0, PORT),
        (1, 0),
    }
    assert talk.peer(tcp(80, LEG, "SA"), "world").mark == Mark.TO_PROXY


def test_the_first_answer_from_outside_finds_the_proxy_s_socket(talk: Talk) -> None:
    """Legs beyond the node leave no entry when they go: the answer to one makes it."""
    kernel = talk.kernel
    kernel.rows(deny_all(5))
    kernel.enforce(POD, 5)
    answer = frame(talk.family, talk.world["world"], talk.world["pod"], udp(80, LEG))
    assert drops(kernel.run("from_host", answer)) == {133}
    proxy = Proxy(kernel.namespace, PORT, Mark.EGRESS_PROXY)
    with proxy._transparent(talk.family, "udp") as leg:
        leg.bind((talk.world["pod"], LEG))
        for _ in range(2):
            outcome = kernel.run("from_host", answer)
            assert (outcome.verdict, outcome.mark) == (REDIRECT, Mark.TO_PROXY)
    assert [key.leg for key in kernel.connections()] == [1]
