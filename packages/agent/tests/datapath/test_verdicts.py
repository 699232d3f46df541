# SPDX-License-Identifier: Apache-2.0
"""The verdict on a first packet: rows, cells and flags, for both directions and families."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from datapath_packets import (
    BODIES,
    HOST_MARK,
    ICMP_PROTO,
    IN,
    OK,
    OUT,
    PROTO,
    REDIRECT,
    SHOT,
    allow_all,
    echo,
    frame,
    icmp_of,
    tcp,
    udp,
)

from cilium_core.layouts.events import EventType, MatchType
from cilium_core.layouts.policy import LIST_CELLS, ROW_CELLS
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8  # endpoint ids of the known world
POD_IDENTITY, PEER_IDENTITY = 1001, 1002
EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
DENIED, UNKNOWN, NO_LISTENER, DENY = 133, 171, 180, 181


class Case(NamedTuple):
    """A row, the peer's bits, and what comes of it: a drop reason (0: none) and the match."""

    row: Row | None
    bits: dict[int, int]
    reason: int
    match: MatchType = MatchType.NONE


CASES = {
    "no row": Case(None, {}, DENIED),
    "an empty row": Case(Row(), {}, DENIED),
    "any allow": Case(Row(any_allow=True), {}, 0, MatchType.L4_ONLY),
    "any deny": Case(Row(any_deny=True), {}, DENY, MatchType.L4_ONLY),
    "any l7": Case(Row(any_l7=True), {}, NO_LISTENER, MatchType.L4_ONLY),
    "any deny over all": Case(
        Row(True, True, True, (Cell(0, 1, 0, 0),)), {0: 1}, DENY, MatchType.L4_ONLY
    ),
    "any l7 over any allow": Case(Row(True, False, True), {}, NO_LISTENER, MatchType.L4_ONLY),
    "allowed set": Case(Row(cells=(Cell(0, 0b10, 0, 0),)), {0: 0b10}, 0, MatchType.L3_L4),
    "another set": Case(Row(cells=(Cell(0, 0b10, 0, 0),)), {0: 0b01}, DENIED),
    "another word": Case(Row(cells=(Cell(1, 0b10, 0, 0),)), {0: 0b10}, DENIED),
    "no bits at all": Case(Row(cells=(Cell(0, 0b10, 0, 0),)), {}, DENIED),
    "top bit": Case(Row(cells=(Cell(9, 1 << 63, 0, 0),)), {9: 1 << 63}, 0, MatchType.L3_L4),
    "denied set": Case(Row(cells=(Cell(0, 0, 1, 0),)), {0: 1}, DENY, MatchType.L3_L4),
    "deny over allow": Case(Row(cells=(Cell(0, 1, 2, 0),)), {0: 3}, DENY, MatchType.L3_L4),
    "deny over any allow": Case(
        Row(any_allow=True, cells=(Cell(0, 0, 1, 0),)), {0: 1}, DENY, MatchType.L3_L4
    ),
    "not denied under any allow": Case(
        Row(any_allow=True, cells=(Cell(0, 0, 1, 0),)), {0: 2}, 0, MatchType.L4_ONLY
    ),
    "known under a deny": Case(
        Row(cells=(Cell(0, 1, 0, 0), Cell(1, 0, 1, 0)), known_only=True),
        {0: 1},
        0,
        MatchType.L4_ONLY,
    ),
    "known and denied": Case(
        Row(cells=(Cell(0, 1, 0, 0), Cell(1, 0, 1, 0)), known_only=True),
        {0: 1, 1: 1},
        DENY,
        MatchType.L3_L4,
    ),
    "not known under a deny": Case(
        Row(cells=(Cell(0, 1, 0, 0), Cell(1, 0, 1, 0)), known_only=True), {}, UNKNOWN
    ),
    "deny in a later word": Case(
        Row(cells=(Cell(0, 1, 0, 0), Cell(3, 0, 1, 0))), {0: 1, 3: 1}, DENY, MatchType.L3_L4
    ),
    "l7 set": Case(Row(cells=(Cell(0, 0, 0, 4),)), {0: 4}, NO_LISTENER, MatchType.L3_L4),
    "l7 over allow": Case(Row(cells=(Cell(0, 1, 0, 4),)), {0: 5}, NO_LISTENER, MatchType.L3_L4),
    "l7 over any allow": Case(
        Row(any_allow=True, cells=(Cell(0, 0, 0, 4),)), {0: 4}, NO_LISTENER, MatchType.L3_L4
    ),
    "deny over l7": Case(Row(cells=(Cell(0, 0, 2, 1),)), {0: 3}, DENY, MatchType.L3_L4),
    "any l7 over allowed set": Case(
        Row(any_l7=True, cells=(Cell(0, 1, 0, 0),)), {0: 1}, NO_LISTENER, MatchType.L4_ONLY
    ),
    "last cell inside": Case(
        Row(cells=tuple(Cell(n, 1, 0, 0) for n in range(ROW_CELLS))),
        {ROW_CELLS - 1: 1},
        0,
        MatchType.L3_L4,
    ),
    "first cell of the list": Case(
        Row(cells=tuple(Cell(n, 1, 0, 0) for n in range(ROW_CELLS + 1))),
        {ROW_CELLS: 1},
        0,
        MatchType.L3_L4,
    ),
    "last cell of a full list": Case(
        Row(cells=tuple(Cell(n, 1, 0, 0) for n in range(ROW_CELLS + LIST_CELLS))),
        {ROW_CELLS + LIST_CELLS - 1: 1},
        0,
        MatchType.L3_L4,
    ),
    "deny at the end of a full list": Case(
        Row(
            any_allow=True,
            cells=tuple(Cell(n, 0, 1, 0) for n in range(ROW_CELLS + LIST_CELLS)),
        ),
        {ROW_CELLS + LIST_CELLS - 1: 1},
        DENY,
        MatchType.L3_L4,
    ),
    "none of a full list": Case(
        Row(cells=tuple(Cell(n, 1, 1, 1) for n in range(ROW_CELLS + LIST_CELLS))),
        {ROW_CELLS + LIST_CELLS: 1},
        DENIED,
    ),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("direction", [EGRESS, INGRESS])
@pytest.mark.parametrize("name", CASES)
def test_row(kernel, worlds, name: str, direction: Direction, family: int) -> None:
    """Pod to peer, judged at the pod's egress or at the peer's ingress by one row for port 80."""
    case, world = CASES[name], worlds[family]
    judge, other = (POD, PEER_IDENTITY) if direction is EGRESS else (PEER, POD_IDENTITY)
    kernel.enforce(judge, 5, 9)
    if case.row is not None:
        kernel.rows({RowKey(5, direction, 6, 80, 16): case.row})
    kernel.bits({(other, word): bits for word, bits in case.bits.items()})
    outcome = kernel.run("from_container", frame(family, world["pod"], world["peer"], tcp()))
    expected = {(case.reason, int(direction))} if case.reason else {(0, OUT)}
    assert (outcome.verdict, outcome.reasons) == (SHOT if case.reason else REDIRECT, expected)
    (verdict,) = [e for e in kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    assert (verdict.subtype, verdict.match, verdict.direction) == (
        case.reason,
        case.match,
        int(direction),
    )
    assert (verdict.endpoint_id, verdict.policy, verdict.revision) == (judge, 5, 9)
    assert verdict.row_prefixlen == (0 if case.row is None else 64)
    matched = case.bits.get(verdict.word, 0)
    assert verdict.bits & matched == verdict.bits
    assert bool(verdict.bits) == (case.match is MatchType.L3_L4)
    assert verdict.bits or not verdict.word


PREFIXES = {
    "all protocols": (RowKey(5, EGRESS), MatchType.ALL),
    "a protocol": (RowKey(5, EGRESS, 6), MatchType.PROTO_ONLY),
    "half of the ports": (RowKey(5, EGRESS, 6, 0, 1), MatchType.L4_ONLY),
    "a range of ports": (RowKey(5, EGRESS, 6, 64, 10), MatchType.L4_ONLY),
    "the port": (RowKey(5, EGRESS, 6, 80, 16), MatchType.L4_ONLY),
}


@pytest.mark.parametrize("name", PREFIXES)
def test_prefixes_and_the_longest_one(kernel, worlds, name: str) -> None:
    key, match = PREFIXES[name]
    kernel.enforce(POD, 5)
    packet = frame(4, worlds[4]["pod"], worlds[4]["peer"], tcp(4001))
    kernel.rows({key: Row(any_allow=True)})
    assert kernel.run("from_container", packet).verdict == REDIRECT
    (verdict,) = [e for e in kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    assert verdict.match == match
    shorter = [other for other, _ in PREFIXES.values() if other != key]
    before = shorter[: list(PREFIXES).index(name)]
    kernel.rows(dict.fromkeys(before, Row(any_deny=True)))
    packet = frame(4, worlds[4]["pod"], worlds[4]["peer"], tcp(4002))
    assert kernel.run("from_container", packet).verdict == REDIRECT, "a longer prefix decides"


MISSES = {
    "another policy": RowKey(6, EGRESS, 6, 80, 16),
    "another direction": RowKey(5, INGRESS, 6, 80, 16),
    "another protocol": RowKey(5, EGRESS, 17, 80, 16),
    "another port": RowKey(5, EGRESS, 6, 81, 16),
    "the range beside": RowKey(5, EGRESS, 6, 96, 11),
}


@pytest.mark.parametrize("name", MISSES)
def test_what_a_row_does_not_cover(kernel, worlds, name: str) -> None:
    kernel.enforce(POD, 5)
    kernel.rows({MISSES[name]: Row(any_allow=True)})
    packet = frame(4, worlds[4]["pod"], worlds[4]["peer"], tcp())
    assert kernel.run("from_container", packet).reasons == {(DENIED, OUT)}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", PROTO)
def test_every_protocol_with_ports(kernel, worlds, name: str, family: int) -> None:
    kernel.enforce(POD, 5)
    kernel.rows({RowKey(5, EGRESS, PROTO[name], 80, 16): Row(any_allow=True)})
    pod, peer = worlds[family]["pod"], worlds[family]["peer"]
    for port, verdict in ((80, REDIRECT), (81, SHOT)):
        body = BODIES[name](4000, port)
        fields = {"proto" if family == 4 else "nh": PROTO[name]}
        assert (
            kernel.run("from_container", frame(family, pod, peer, body, **fields)).verdict
            == verdict
        )


@pytest.mark.parametrize("family", [4, 6])
def test_icmp_goes_by_message_type(kernel, worlds, family: int) -> None:
    proto, pod, peer = ICMP_PROTO[family], worlds[family]["pod"], worlds[family]["peer"]
    request, answer = (8, 0) if family == 4 else (128, 129)
    kernel.enforce(POD, 5)
    kernel.rows({RowKey(5, EGRESS, proto, request, 16): Row(any_allow=True)})
    fields = {"proto" if family == 4 else "nh": proto}
    for kind, verdict in ((request, REDIRECT), (answer, SHOT), (5, SHOT), (13, SHOT)):
        packet = frame(family, pod, peer, icmp_of(family, kind), **fields)
        assert kernel.run("from_container", packet).verdict == verdict, kind


def test_other_protocols_have_port_zero(kernel, worlds) -> None:
    pod, peer = worlds[4]["pod"], worlds[4]["peer"]
    kernel.enforce(POD, 5)
    kernel.rows({RowKey(5, EGRESS, 112): Row(any_allow=True)})
    for proto, verdict in ((112, REDIRECT), (47, SHOT)):
        packet = frame(4, pod, peer, udp(), proto=proto)
        assert kernel.run("from_container", packet).verdict == verdict


@pytest.mark.parametrize("family", [4, 6])
def test_both_policies_must_allow(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.enforce(POD, 5)
    kernel.enforce(PEER, 6)
    kernel.rows(allow_all(5))
    packet = frame(family, world["pod"], world["peer"], tcp(4001))
    assert kernel.run("from_container", packet).reasons == {(DENIED, IN)}
    kernel.rows(allow_all(6))
    assert kernel.run("from_container", packet).verdict == REDIRECT
    kernel.rows({RowKey(5, EGRESS): Row(any_deny=True)})
    packet = frame(family, world["pod"], world["peer"], tcp(4002))
    assert kernel.run("from_container", packet).reasons == {(DENY, OUT)}


@pytest.mark.parametrize("family", [4, 6])
def test_peers_outside_go_by_the_ipcache(kernel, worlds, family: int) -> None:
    """A listed address has its own identity, an unlisted one is world."""
    world = worlds[family]
    kernel.enforce(POD, 5)
    kernel.rows({RowKey(5, EGRESS): Row(cells=(Cell(0, 0b01, 0b10, 0),))})
    kernel.bits({(1003, 0): 0b01, (2, 0): 0b10})
    for target, reasons in (
        ("remote_listed", {(0, OUT)}),
        ("world", {(DENY, OUT)}),
        ("node", {(DENIED, OUT)}),  # host, which has no bits
    ):
        packet = frame(family, world["pod"], world[target], tcp())
        assert kernel.run("from_container", packet).reasons == reasons, target


@pytest.mark.parametrize("family", [4, 6])
def test_the_host_reaches_its_pods_and_nobody_else_does(kernel, worlds, family: int) -> None:
    """Probes pass whatever the policy says; what the stack forwards for others is judged."""
    world = worlds[family]
    kernel.enforce(PEER, 5)
    kernel.rows({RowKey(5, INGRESS): Row(any_deny=True)})
    probe = frame(family, world["node"], world["peer"], tcp())
    assert kernel.run("from_host", probe).verdict == REDIRECT
    assert kernel.run("from_host", probe, mark=HOST_MARK).verdict == REDIRECT
    forged = frame(family, world["node"], world["peer"], tcp(4001))
    assert kernel.run("from_host", forged, came_by=1).reasons == {(DENY, IN)}
    other = frame(family, world["world"], world["peer"], tcp())
    assert kernel.run("from_host", other).reasons == {(DENY, IN)}
    assert kernel.run("from_host", other, mark=HOST_MARK).verdict == REDIRECT
    answer = frame(family, world["peer"], world["node"], tcp(80, 4000, "SA"))
    kernel.rows({RowKey(5, EGRESS): Row(any_deny=True)})
    outcome = kernel.run("from_container", answer, ifindex=kernel.peer_ifindex)
    assert outcome.verdict == OK, "the probe's answer is a reply"


@pytest.mark.parametrize("family", [4, 6])
def test_policy_zero_is_never_enforced(kernel, worlds, family: int) -> None:
    world = worlds[family]
    kernel.rows({RowKey(0, way): Row(any_deny=True) for way in (EGRESS, INGRESS)})
    for body in (tcp(), udp(), echo(family)):
        packet = frame(family, world["pod"], world["peer"], body)
        assert kernel.run("from_container", packet).verdict == REDIRECT
    assert not [e for e in kernel.ring.take() if e.type == EventType.POLICY_VERDICT]
    assert len(kernel.connections()) == 6, "both ends track what nobody judges"
