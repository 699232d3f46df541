# SPDX-License-Identifier: Apache-2.0
"""Connections over time: who opened them, how long they live, and what policy may still end."""

from __future__ import annotations

import pytest
from datapath_packets import (
    HOST_MARK,
    IN,
    OK,
    OUT,
    REDIRECT,
    SHOT,
    Talk,
    allow_all,
    deny_all,
    echo,
    frame,
    icmp_of,
    tcp,
    udp,
)

from cilium_agent.datapath.conntrack import now
from cilium_core.addresses import pack_address
from cilium_core.layouts.events import EventType
from cilium_core.layouts.policy import ConnectionFlag, ConnectionKey
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
PEER_IDENTITY = 1002
EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
FORWARDED = {(0, OUT)}
OUT_DENIED, IN_DENIED = {(133, OUT)}, {(133, IN)}


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def strict(talk: Talk) -> None:
    """The pod may only send (policy 1), the peer only receive (policy 2)."""
    talk.kernel.rows({**deny_all(1), **deny_all(2)})
    talk.kernel.rows({key: Row(any_allow=True) for key in (RowKey(1, EGRESS), RowKey(2, INGRESS))})
    talk.kernel.enforce(POD, 1)
    talk.kernel.enforce(PEER, 2)


def handshake(talk: Talk, sport: int = 4000, dport: int = 80) -> None:
    assert talk.pod(tcp(sport, dport, "S")).reasons == FORWARDED
    assert talk.peer(tcp(dport, sport, "SA")).reasons == FORWARDED
    assert talk.pod(tcp(sport, dport, "A")).reasons == FORWARDED


@pytest.mark.parametrize("ports", [(4000, 80), (80, 4000), (500, 500)])
def test_answers_pass_and_openings_do_not(talk: Talk, ports: tuple[int, int]) -> None:
    """Whichever port is the lower one."""
    sport, dport = ports
    strict(talk)
    handshake(talk, sport, dport)
    assert talk.pod(udp(sport, dport)).reasons == FORWARDED
    assert talk.peer(udp(dport, sport)).reasons == FORWARDED
    assert talk.peer(udp(dport, sport + 1)).reasons == OUT_DENIED
    assert talk.peer(tcp(dport, sport + 1, "S")).reasons == OUT_DENIED
    assert talk.peer(tcp(dport, sport + 1, "A")).reasons == OUT_DENIED
    talk.kernel.rows({RowKey(2, EGRESS): Row(any_allow=True)})
    assert talk.peer(udp(dport, sport + 1)).reasons == IN_DENIED


def test_key_and_counters(talk: Talk) -> None:
    """Each end has its entry; tx is of the one who opened it, in frames and their bytes."""
    payload = b"x" * 100
    talk.pod(udp(4000, 53, payload))
    talk.pod(udp(4000, 53, payload))
    talk.peer(udp(53, 4000, payload * 2))
    header = 14 + (20 if talk.family == 4 else 40) + 8
    pod, peer = pack_address(talk.world["pod"]), pack_address(talk.world["peer"])
    held = talk.kernel.connections()
    assert set(held) == {
        ConnectionKey(pod, peer, 4000, 53, 17, OUT),
        ConnectionKey(peer, pod, 53, 4000, 17, IN),
    }
    for info in held.values():
        assert (info.tx_packets, info.rx_packets) == (2, 1)
        assert (info.tx_bytes, info.rx_bytes) == (2 * (header + 100), header + 200)
    assert talk.entry("pod", OUT).peer_identity == PEER_IDENTITY
    assert talk.entry("peer", IN).peer_identity == 1001


LIVES = {  # segments as (sender, flags), and seconds left after the last one
    "syn": ([("pod", "S")], 60),
    "syn and answer": ([("pod", "S"), ("peer", "SA")], 60),
    "open": ([("pod", "S"), ("peer", "SA"), ("pod", "A")], 21600),
    "met in the middle": ([("pod", "A")], 21600),
    "refused": ([("pod", "S"), ("peer", "RA")], 10),
    "reset by the opener": ([("pod", "S"), ("peer", "SA"), ("pod", "A"), ("pod", "R")], 10),
    "reset by the other": ([("pod", "S"), ("peer", "SA"), ("pod", "A"), ("peer", "R")], 10),
    "one side closed": ([("pod", "S"), ("peer", "SA"), ("pod", "FA")], 21600),
    "one side closed twice": ([("pod", "S"), ("peer", "SA"), ("pod", "FA"), ("pod", "FA")], 21600),
    "both closed": ([("pod", "S"), ("peer", "SA"), ("pod", "FA"), ("peer", "FA")], 10),
    "both closed, other first": ([("pod", "S"), ("peer", "FA"), ("pod", "FA")], 10),
}


@pytest.mark.parametrize("name", LIVES)
def test_tcp_lifetimes(talk: Talk, name: str) -> None:
    segments, left = LIVES[name]
    for sender, flags in segments:
        ports = (4000, 80) if sender == "pod" else (80, 4000)
        outcome = getattr(talk, sender)(tcp(*ports, flags))
        assert outcome.verdict == REDIRECT
    for entry in (talk.entry("pod", OUT), talk.entry("peer", IN)):
        assert abs(entry.expires - now() - left) <= 1, name


def test_other_lifetimes_begin_anew_with_each_packet(talk: Talk) -> None:
    talk.pod(udp())
    talk.kernel.expire(30)
    assert talk.entry("pod", OUT).expires - now() <= 31
    talk.peer(udp(80, 4000))
    assert abs(talk.entry("pod", OUT).expires - now() - 60) <= 1


def test_what_comes_after_the_end_does_not_prolong_it(talk: Talk) -> None:
    handshake(talk)
    talk.pod(tcp(flags="FA"))
    talk.peer(tcp(80, 4000, "FA"))
    talk.kernel.expire(5)
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    assert talk.entry("pod", OUT).expires - now() <= 6


def test_an_entry_past_its_time_is_none(talk: Talk) -> None:
    strict(talk)
    handshake(talk)
    talk.kernel.expire(21600 - 5)
    assert talk.peer(tcp(80, 4000, "A")).reasons == FORWARDED, "still five seconds"
    talk.kernel.expire(21601)
    assert talk.peer(tcp(80, 4000, "A")).reasons == OUT_DENIED, "judged as the peer's own"
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED, "judged anew, and allowed"
    assert talk.entry("pod", OUT).tx_packets == 1
    assert talk.peer(tcp(80, 4000, "A")).reasons == FORWARDED


@pytest.mark.parametrize("end", ["RA", "FA"])
def test_a_syn_on_a_closing_connection_opens_another(talk: Talk, end: str) -> None:
    strict(talk)
    handshake(talk)
    talk.pod(tcp(flags=end))
    talk.kernel.ring.take()
    assert talk.pod(tcp(flags="S")).reasons == FORWARDED
    entry = talk.entry("pod", OUT)
    assert (entry.tx_packets, entry.rx_packets, entry.flags) == (1, 0, 0)
    assert abs(entry.expires - now() - 60) <= 1
    verdicts = [e for e in talk.kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    assert [(e.direction, e.subtype, e.state) for e in verdicts] == [(OUT, 0, 1), (IN, 0, 1)]
    talk.pod(tcp(flags=end))
    talk.kernel.rows({RowKey(1, EGRESS): Row()})  # the same revision, but it is a new connection
    assert talk.pod(tcp(flags="S")).reasons == OUT_DENIED


def test_a_syn_on_an_open_connection_is_of_it(talk: Talk) -> None:
    strict(talk)
    handshake(talk)
    talk.kernel.ring.take()
    assert talk.pod(tcp(flags="S")).reasons == FORWARDED
    assert talk.entry("pod", OUT).tx_packets == 3
    assert not [e for e in talk.kernel.ring.take() if e.type == EventType.POLICY_VERDICT]


def test_no_revision_no_second_look(talk: Talk) -> None:
    """Rows may change under a connection: only a new revision makes it be judged again."""
    strict(talk)
    handshake(talk)
    talk.kernel.rows({RowKey(1, EGRESS): Row(), RowKey(2, INGRESS): Row()})
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    talk.kernel.enforce(PEER, 2, 2)
    assert talk.pod(tcp(flags="A")).reasons == IN_DENIED
    talk.kernel.enforce(POD, 1, 2)
    assert talk.pod(tcp(flags="A")).reasons == OUT_DENIED


def test_judged_again_and_allowed_it_goes_on(talk: Talk) -> None:
    strict(talk)
    handshake(talk)
    talk.kernel.enforce(POD, 1, 2)
    talk.kernel.ring.take()
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    entry = talk.entry("pod", OUT)
    assert (entry.revision, entry.tx_packets, entry.rx_packets) == (2, 3, 1)
    assert not [e for e in talk.kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    talk.kernel.rows({RowKey(1, EGRESS): Row()})
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED, "current again"


def test_a_denied_connection_ends_in_both_directions(talk: Talk) -> None:
    """Neither side can go on with it, though both may still open others towards the pod."""
    talk.kernel.rows({**allow_all(1), RowKey(1, EGRESS, 6, 80, 16): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1)
    handshake(talk)
    talk.kernel.rows({RowKey(1, EGRESS, 6, 80, 16): Row()})
    talk.kernel.enforce(POD, 1, 2)
    for _ in range(2):
        assert talk.pod(tcp(flags="A")).reasons == OUT_DENIED
        assert talk.peer(tcp(80, 4000, "A", b"more")).reasons == IN_DENIED
    assert talk.entry("pod", OUT).flags & ConnectionFlag.DENIED
    assert talk.pod(tcp(flags="S")).reasons == OUT_DENIED
    assert talk.peer(tcp(80, 4000, "S")).reasons == FORWARDED, "its own, which ingress allows"
    assert talk.pod(tcp(flags="SA")).reasons == FORWARDED, "and that is answered"
    with pytest.raises(ValueError):
        talk.entry("pod", OUT)  # the old one is gone


def test_allowed_again_a_denied_connection_resumes(talk: Talk) -> None:
    strict(talk)
    handshake(talk)
    talk.kernel.rows({RowKey(1, EGRESS): Row()})
    talk.kernel.enforce(POD, 1, 2)
    assert talk.pod(tcp(flags="A")).reasons == OUT_DENIED
    talk.kernel.rows({RowKey(1, EGRESS): Row(any_allow=True)})
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    assert not talk.entry("pod", OUT).flags & ConnectionFlag.DENIED
    assert talk.peer(tcp(80, 4000, "A")).reasons == FORWARDED


def test_denied_datagrams_leave_nothing(talk: Talk) -> None:
    strict(talk)
    talk.pod(udp())
    talk.kernel.rows({RowKey(1, EGRESS): Row()})
    talk.kernel.enforce(POD, 1, 2)
    assert talk.pod(udp()).reasons == OUT_DENIED
    with pytest.raises(ValueError):
        talk.entry("pod", OUT)
    assert talk.peer(udp(80, 4000)).reasons == IN_DENIED, "no answer any more"


def test_another_identity_is_judged_again(talk: Talk) -> None:
    talk.kernel.rows({**allow_all(1), RowKey(1, EGRESS): Row(cells=(Cell(0, 1, 0, 0),))})
    talk.kernel.bits({(PEER_IDENTITY, 0): 1, (1500, 0): 1})
    talk.kernel.enforce(POD, 1)
    handshake(talk)
    talk.kernel.reidentify(PEER, 1500)
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    assert talk.entry("pod", OUT).peer_identity == 1500
    talk.kernel.reidentify(PEER, 1501)
    assert talk.pod(tcp(flags="A")).reasons == OUT_DENIED
    assert talk.peer(tcp(80, 4000, "A")).reasons == IN_DENIED
    talk.kernel.reidentify(PEER, 1500)
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED


def test_a_sender_with_another_identity_is_judged_again(talk: Talk) -> None:
    talk.kernel.rows({RowKey(2, INGRESS): Row(cells=(Cell(0, 1, 0, 0),))})
    talk.kernel.bits({(1001, 0): 1})
    talk.kernel.enforce(PEER, 2)
    assert talk.pod(udp()).reasons == FORWARDED
    talk.kernel.reidentify(POD, 1501)
    assert talk.pod(udp()).reasons == IN_DENIED


def test_a_syn_answers_nothing_but_a_syn(talk: Talk) -> None:
    """Else whom the pod has talked to could open connections to it from the same port."""
    strict(talk)
    assert talk.pod(tcp(flags="S")).reasons == FORWARDED
    assert talk.peer(tcp(80, 4000, "S")).reasons == FORWARDED, "both open at the same time"
    assert talk.pod(tcp(flags="SA")).reasons == FORWARDED
    talk.pod(tcp(flags="A"))
    assert talk.peer(tcp(80, 4000, "S")).reasons == OUT_DENIED
    assert talk.peer(tcp(80, 4000, "A")).reasons == FORWARDED, "which has not harmed the first"


def test_mid_stream_segments_are_judged_as_new(talk: Talk) -> None:
    strict(talk)
    assert talk.pod(tcp(flags="A")).reasons == FORWARDED
    assert talk.peer(tcp(80, 4000, "A")).reasons == FORWARDED
    assert talk.peer(tcp(80, 4001, "A")).reasons == OUT_DENIED


def test_echoes(talk: Talk) -> None:
    """The answer passes; whoever was asked may not ask back with the same identifier."""
    family = talk.family
    strict(talk)
    assert talk.pod(echo(family)).reasons == FORWARDED
    assert talk.peer(echo(family, reply=True)).reasons == FORWARDED
    assert talk.peer(echo(family)).reasons == OUT_DENIED
    assert talk.peer(echo(family, ident=8, reply=True)).reasons == OUT_DENIED
    entry = talk.entry("pod", OUT)
    assert (entry.tx_packets, entry.rx_packets) == (1, 1)
    talk.kernel.rows({RowKey(2, EGRESS): Row(any_allow=True)})
    assert talk.peer(echo(family, ident=8, reply=True)).reasons == IN_DENIED


def test_other_icmp_messages_open_nothing(talk: Talk) -> None:
    proto, kind = (1, 13) if talk.family == 4 else (58, 139)
    fields = {"proto" if talk.family == 4 else "nh": proto}
    for _ in range(2):
        assert talk.pod(icmp_of(talk.family, kind), **fields).reasons == FORWARDED
    assert talk.pod(echo(talk.family, reply=True)).reasons == FORWARDED
    assert not talk.kernel.connections()


def test_the_hosts_connections_are_tracked(talk: Talk) -> None:
    """So that their answers pass, and those only."""
    kernel, world, family = talk.kernel, talk.world, talk.family
    kernel.rows(deny_all(2))
    kernel.enforce(PEER, 2)
    probe = frame(family, world["node"], world["peer"], tcp())
    assert kernel.run("from_host", probe, mark=HOST_MARK).verdict == REDIRECT
    assert talk.peer(tcp(80, 4000, "SA"), "node").verdict == OK
    assert talk.peer(tcp(80, 4001, "SA"), "node").verdict == SHOT
    assert talk.entry("peer", IN).peer_identity == 1


def test_answers_from_outside_pass(talk: Talk) -> None:
    kernel, world, family = talk.kernel, talk.world, talk.family
    strict(talk)
    assert talk.pod(tcp(), "world").verdict == OK
    answer = frame(family, world["world"], world["pod"], tcp(80, 4000, "SA"))
    assert kernel.run("from_host", answer).verdict == REDIRECT
    stranger = frame(family, world["world"], world["pod"], tcp(81, 4000, "SA"))
    assert kernel.run("from_host", stranger).reasons == IN_DENIED


def test_families_and_protocols_do_not_share_connections(talk: Talk, worlds) -> None:
    strict(talk)
    assert talk.pod(udp()).reasons == FORWARDED
    assert talk.peer(tcp(80, 4000, "A")).reasons == OUT_DENIED
    other = Talk(talk.kernel, 10 - talk.family, worlds[10 - talk.family])
    assert other.peer(udp(80, 4000)).reasons == OUT_DENIED
