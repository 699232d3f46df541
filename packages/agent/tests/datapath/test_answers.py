# SPDX-License-Identifier: Apache-2.0
"""Answers: they pass while what they answer would, and keep nothing alive beyond that."""

from __future__ import annotations

import pytest
from datapath_packets import (
    HOST_MARK,
    ICMP_PROTO,
    IN,
    OK,
    OUT,
    REDIRECT,
    Talk,
    allow_all,
    deny_all,
    echo,
    frame,
    sctp,
    tcp,
    udp,
)

from cilium_agent.datapath.conntrack import now
from cilium_core.layouts.events import EventType
from cilium_core.layouts.policy import ConnectionFlag
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
POD_IDENTITY, PEER_IDENTITY = 1001, 1002
EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
FORWARDED = {(0, OUT)}
OUT_DENIED, IN_DENIED = {(133, OUT)}, {(133, IN)}
TO_80, FROM_80 = (4000, 80), (80, 4000)


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def only_to(talk: Talk, protocol: int, port: int) -> RowKey:
    """Policy 1, the pod's: it may send to one port and receive nothing. Return the port's row."""
    key = RowKey(1, EGRESS, protocol, port, 16)
    talk.kernel.rows({**deny_all(1), key: Row(any_allow=True)})
    talk.kernel.enforce(POD, 1)
    return key


def left(talk: Talk, local: str = "pod", direction: int = OUT) -> int:
    return talk.entry(local, direction).expires - now()


def test_current_answers_are_not_judged(talk: Talk) -> None:
    key = only_to(talk, 17, 80)
    talk.pod(udp(*TO_80))
    talk.kernel.rows({key: None})  # the same revision
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED


@pytest.mark.parametrize(("body", "protocol"), [(udp, 17), (sctp, 132)])
def test_answers_alone_keep_nothing_open_that_policy_has_closed(
    talk: Talk, body, protocol: int
) -> None:
    """The pod asked once, and only the peer goes on."""
    fields = {"proto" if talk.family == 4 else "nh": protocol}
    key = only_to(talk, protocol, 80)
    assert talk.pod(body(*TO_80), **fields).reasons == FORWARDED
    for _ in range(3):
        talk.kernel.expire(40)
        assert talk.peer(body(*FROM_80), **fields).reasons == FORWARDED, "one way, and kept up"
    talk.kernel.rows({key: None})
    talk.kernel.enforce(POD, 1, 2)
    for _ in range(2):
        assert talk.peer(body(*FROM_80), **fields).reasons == IN_DENIED
        with pytest.raises(ValueError):
            talk.entry("pod", OUT)


def test_answers_go_on_under_another_policy_that_allows_the_opening(talk: Talk) -> None:
    key = only_to(talk, 17, 80)
    talk.pod(udp(*TO_80))
    talk.kernel.rows({key: None, RowKey(1, EGRESS, 17, 64, 10): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1, 2)
    talk.kernel.expire(40)
    talk.kernel.ring.take()
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    entry = talk.entry("pod", OUT)
    assert (entry.revision, entry.tx_packets, entry.rx_packets) == (2, 1, 1)
    assert abs(left(talk) - 60) <= 1
    verdicts = [e for e in talk.kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    assert not [e for e in verdicts if e.direction == IN and e.endpoint_id == POD]


def test_what_a_pod_answers_is_judged_by_what_it_was_asked(talk: Talk) -> None:
    """The peer is the server here: the port is its own, and its egress says no to everything."""
    key = RowKey(2, INGRESS, 17, 80, 16)
    talk.kernel.rows({**deny_all(2), key: Row(any_allow=True)})
    talk.kernel.enforce(PEER, 2)
    talk.pod(udp(*TO_80))
    talk.kernel.enforce(PEER, 2, 2)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    assert talk.entry("peer", IN).revision == 2
    talk.kernel.rows({key: None})
    talk.kernel.enforce(PEER, 2, 3)
    assert talk.peer(udp(*FROM_80)).reasons == OUT_DENIED


def test_without_its_connection_an_answer_is_a_packet_of_its_own(talk: Talk) -> None:
    key = only_to(talk, 17, 80)
    talk.pod(udp(*TO_80))
    talk.kernel.rows({key: None, RowKey(1, INGRESS): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1, 2)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    assert talk.entry("pod", IN).tx_packets == 1, "the peer's own, which ingress allows"


def test_a_stream_of_segments_ends_with_its_policy(talk: Talk) -> None:
    """Its own side is silent, and would have been judged."""
    key = only_to(talk, 6, 80)
    talk.pod(tcp(*TO_80, "S"))
    talk.peer(tcp(*FROM_80, "SA"))
    talk.kernel.rows({key: None, RowKey(1, INGRESS): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1, 2)
    for _ in range(2):
        assert talk.peer(tcp(*FROM_80, "A", b"more")).reasons == IN_DENIED
    assert talk.entry("pod", OUT).flags & ConnectionFlag.DENIED
    talk.kernel.rows({key: Row(any_allow=True)})
    assert talk.pod(tcp(*TO_80, "A")).reasons == FORWARDED
    assert talk.peer(tcp(*FROM_80, "A")).reasons == FORWARDED, "as any that is allowed again"


def test_segments_go_on_where_policy_still_allows_them(talk: Talk) -> None:
    only_to(talk, 6, 80)
    talk.pod(tcp(*TO_80, "S"))
    talk.kernel.enforce(POD, 1, 2)
    assert talk.peer(tcp(*FROM_80, "SA")).reasons == FORWARDED
    assert talk.entry("pod", OUT).revision == 2


def test_the_peer_is_the_one_of_the_opening(talk: Talk) -> None:
    """Bits decide, and those of whom the connection was made with."""
    talk.kernel.rows({**deny_all(1), RowKey(1, EGRESS): Row(cells=(Cell(0, 1, 0, 0),))})
    talk.kernel.bits({(PEER_IDENTITY, 0): 1})
    talk.kernel.enforce(POD, 1)
    talk.pod(udp(*TO_80))
    talk.kernel.reidentify(PEER, 1500)
    talk.kernel.enforce(POD, 1, 2)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    talk.kernel.bits({(PEER_IDENTITY, 0): None})
    talk.kernel.enforce(POD, 1, 3)
    assert talk.peer(udp(*FROM_80)).reasons == IN_DENIED


@pytest.mark.parametrize("silent", ["pod", "peer"])
def test_answers_go_on_when_the_peer_has_another_number_that_may(talk: Talk, silent: str) -> None:
    """As when a rule's prefix is narrowed: the old identity goes, both policies allow the peer.

    Who waits for an answer sends nothing that would be judged as the new one.
    """
    direction, local, number = (EGRESS, POD, PEER) if silent == "pod" else (INGRESS, PEER, POD)
    before = PEER_IDENTITY if silent == "pod" else POD_IDENTITY
    talk.kernel.rows({**deny_all(1), RowKey(1, direction): Row(cells=(Cell(0, 1, 0, 0),))})
    talk.kernel.bits({(before, 0): 1})
    talk.kernel.enforce(local, 1)
    talk.pod(tcp(*TO_80, "S"))
    talk.peer(tcp(*FROM_80, "SA"))
    assert talk.pod(tcp(*TO_80, "A")).reasons == FORWARDED
    talk.kernel.bits({(1500, 0): 1})
    talk.kernel.reidentify(number, 1500)
    talk.kernel.enforce(local, 1, 2)
    talk.kernel.bits({(before, 0): None})
    for _ in range(2):
        assert talk.peer(tcp(*FROM_80, "A", b"more")).reasons == FORWARDED
    entry = talk.entry(silent, int(direction))
    assert (entry.revision, entry.peer_identity) == (2, 1500)
    talk.kernel.bits({(1500, 0): None})
    talk.kernel.enforce(local, 1, 3)
    assert talk.peer(tcp(*FROM_80, "A", b"more")).reasons != FORWARDED


def test_somebody_else_at_the_address_keeps_nothing_alive(talk: Talk) -> None:
    only_to(talk, 17, 80)
    talk.pod(udp(*TO_80))
    talk.kernel.expire(40)
    talk.kernel.reidentify(PEER, 1500)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    assert left(talk) <= 21
    talk.kernel.enforce(POD, 1, 2)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED
    assert left(talk) <= 21, "nor when it is judged anew"
    assert talk.pod(udp(*TO_80)).reasons == FORWARDED, "asked itself, it may"
    assert abs(left(talk) - 60) <= 1


def test_echo_answers(talk: Talk) -> None:
    """Judged as the request, which is a message of another type."""
    request = 8 if talk.family == 4 else 128
    key = only_to(talk, ICMP_PROTO[talk.family], request)
    talk.pod(echo(talk.family))
    talk.kernel.enforce(POD, 1, 2)
    assert talk.peer(echo(talk.family, reply=True)).reasons == FORWARDED
    talk.kernel.rows({key: None})
    talk.kernel.enforce(POD, 1, 3)
    assert talk.peer(echo(talk.family, reply=True)).reasons == IN_DENIED


def test_the_hosts_probes_are_answered_under_any_policy(talk: Talk) -> None:
    kernel, world, family = talk.kernel, talk.world, talk.family
    kernel.rows(deny_all(2))
    kernel.enforce(PEER, 2)
    probe = frame(family, world["node"], world["peer"], udp(*TO_80))
    assert kernel.run("from_host", probe, mark=HOST_MARK).verdict == REDIRECT
    kernel.enforce(PEER, 2, 2)
    assert talk.peer(udp(*FROM_80), "node").verdict == OK


def test_an_endpoint_without_policy_answers(talk: Talk) -> None:
    talk.kernel.rows(allow_all(1))
    talk.kernel.enforce(POD, 1)
    talk.pod(udp(*TO_80))
    talk.kernel.enforce(POD, 0, 2)
    assert talk.peer(udp(*FROM_80)).reasons == FORWARDED


def test_a_service_s_answers_are_renewed(talk: Talk) -> None:
    """They come from the backend, and must look as the service's after as before."""
    talk.kernel.service(talk.world["vip"], 53, 17, [(talk.world["peer"], 80)])
    talk.kernel.rows({**deny_all(1), RowKey(1, EGRESS, 17, 80, 16): Row(any_allow=True)})
    talk.kernel.enforce(POD, 1)
    assert talk.pod(udp(4000, 53), "vip").reasons == FORWARDED
    before = talk.peer(udp(*FROM_80))
    talk.kernel.enforce(POD, 1, 2)
    renewed = talk.peer(udp(*FROM_80))
    assert renewed.reasons == FORWARDED
    assert renewed.frame == before.frame
    assert talk.entry("pod", OUT).revision == 2
