# SPDX-License-Identifier: Apache-2.0
"""Monitor lines against upstream's, and which events a client gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hubble_fakes import drop, events, trace, verdict

from cilium_core.errors import FieldError
from cilium_hubble.monitor.lines import SEPARATOR, Formatter, flow_mark
from cilium_hubble.monitor.request import Request, parse


def lines(*rows: dict[str, Any], **request: Any) -> list[str]:
    formatter = Formatter(Request(**request), lambda index: f"lxc{index}" if 0 < index < 9 else "")
    return list(formatter.lines(formatter.choose(events(*rows))))


def mark(**fields: Any) -> str:
    row = events(trace(**fields))[0]
    event = {name: row[name] for name in ("sport", "dport", "proto")}
    plain = {name: int(value) for name, value in event.items()}
    ends = {name: row[name].tobytes() for name in ("source", "destination")}
    return f"{flow_mark({**plain, **ends}):#x}"


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            drop(ifindex=5, direction=2, source_identity=1210, destination_identity=0, proto=17),
            "xx drop (Policy denied) flow {} to endpoint 0, ifindex 5, file bpf:42, ,"
            " identity 1210->unknown: 10.0.0.10:40000 -> 10.0.0.11:5432 udp",
        ),
        (
            drop(subtype=181, source_identity=2),
            "xx drop (Policy denied by denylist) flow {} to endpoint 8, ifindex 0, file"
            " bpf:42, , identity world->1002: 10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN",
        ),
        (
            trace(ifindex=3),
            "-> endpoint 8 flow {} , identity 1001->1002 state new ifindex lxc3 orig-ip 0.0.0.0:"
            " 10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN",
        ),
        (
            trace(subtype=5, state=0, direction=2, endpoint_id=7, tcp_flags=0x12, ifindex=12),
            "<- endpoint 7 flow {} , identity 1001->1002 state unknown ifindex 12 orig-ip 0.0.0.0:"
            " 10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN, ACK",
        ),
        (
            trace(subtype=3, state=2, proto=1, icmp_type=8),
            "-> stack flow {} , identity 1001->1002 state established ifindex 0 orig-ip 0.0.0.0:"
            " 10.0.0.10 -> 10.0.0.11 EchoRequest",
        ),
        (
            trace(subtype=10, source="fd00::1", destination="fd00::2", flags=1, proto=132),
            "<- network flow {} , identity 1001->1002 state new ifindex 0 orig-ip :::"
            " [fd00::1]:40000 -> [fd00::2]:5432 sctp",
        ),
        (
            trace(subtype=99, proto=47),
            "unknown trace flow {} , identity 1001->1002 state new ifindex 0 orig-ip 0.0.0.0:"
            " 10.0.0.10 -> 10.0.0.11",
        ),
        (
            verdict(direction=2, destination_identity=1, proto=17, match=1, endpoint_id=1051),
            "Policy verdict log: flow {} local EP ID 1051, remote ID host, proto 17, egress,"
            " action allow, auth: disabled, match L3-Only, 10.0.0.10:40000 -> 10.0.0.11:5432 udp",
        ),
        (
            verdict(subtype=133, match=0),
            "Policy verdict log: flow {} local EP ID 8, remote ID 1001, proto 6, ingress,"
            " action deny, auth: disabled, match none, 10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN",
        ),
        (
            verdict(subtype=133, flags=2, match=4),
            "Policy verdict log: flow {} local EP ID 8, remote ID 1001, proto 6, ingress,"
            " action audit, auth: disabled, match all, 10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN",
        ),
    ],
)
def test_info(row: dict[str, Any], line: str) -> None:
    ends = {name: row[name] for name in ("source", "destination", "proto")}
    assert lines(row) == [line.format(mark(**ends))]


def test_numbers_instead_of_names() -> None:
    (line,) = lines(drop(source_identity=2), numeric=True)
    assert "identity 2->1002" in line


def test_verbose() -> None:
    row = trace(length=74, ifindex=3)
    assert lines(row, format="verbose") == [
        f"{SEPARATOR}\nMARK {mark()} FROM 8 to-endpoint: 74 bytes, state new, interface lxc3,"
        " identity 1001->1002, to endpoint 8\n10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN"
    ]
    nobody = {"source_identity": 0, "destination_identity": 0, "direction": 2, "length": 60}
    assert lines(drop(**nobody), format="verbose") == [
        f"{SEPARATOR}\nMARK {mark()} FROM 8 DROP: 60 bytes, reason Policy denied\n"
        "10.0.0.10:40000 -> 10.0.0.11:5432 tcp SYN"
    ]
    assert lines(verdict(), format="verbose")[0].startswith(f"{SEPARATOR}\nPolicy verdict log:")


def test_json() -> None:
    dropped, traced, judged = (
        json.loads(line)
        for line in lines(drop(length=60), trace(proto=1), verdict(), format="json")
    )
    common = {"mark": mark(), "source": 8, "srcLabel": 1001, "dstLabel": 1002, "dstID": 8}
    ends = {"l3": {"src": "10.0.0.10", "dst": "10.0.0.11"}, "l4": {"src": "40000", "dst": "5432"}}
    assert dropped == {
        **common,
        "type": "drop",
        "reason": "Policy denied",
        "bytes": 60,
        "Line": 42,
        "Ifindex": 0,
        "summary": ends,
    }
    assert traced["observationPoint"] == "to-endpoint"
    assert traced["traceSummary"] == "-> endpoint 8"
    assert traced["summary"] == {"l3": ends["l3"]}
    assert (judged["type"], judged["action"], judged["match"]) == (
        "policy-verdict",
        "allow",
        "L3-L4",
    )


def test_one_connections_direction_has_one_mark() -> None:
    assert mark() == mark(tcp_flags=0x10)
    assert len({mark(), mark(sport=1), mark(dport=1), mark(proto=17), mark(source="1.1.1.1")}) == 5


@pytest.mark.parametrize(
    ("request_fields", "seen"),
    [
        ({}, [0, 1, 2, 3]),
        ({"types": ("drop",)}, [1]),
        ({"types": ("trace", "policy-verdict")}, [0, 2, 3]),
        ({"from_": (7,)}, [2]),
        ({"to": (8,)}, [0, 1]),
        ({"to": (7,)}, []),
        ({"related_to": (7, 9)}, [2, 3]),
        ({"related_to": (8,), "types": ("drop",)}, [1]),
    ],
)
def test_which_events(request_fields: dict[str, Any], seen: list[int]) -> None:
    made = events(
        trace(), drop(), verdict(endpoint_id=7, direction=2), trace(endpoint_id=9, direction=2)
    )
    mask = Request(**request_fields).choose(made)
    assert mask.nonzero()[0].tolist() == seen


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "request: "),
        (b"{", "request: "),
        (b'{"types":["shoe"]}', r"types\[0\]: 'shoe' is not one of drop"),
        (b'{"types":["drop","agent"]}', r"types\[1\]: 'agent' events are not recorded yet"),
        (b'{"format":"xml"}', "request: .*xml"),
        (b'{"colour":1}', "request: .*colour"),
        (b'{"from":["a"]}', "request: .*from"),
    ],
)
def test_bad_requests(line: bytes, words: str) -> None:
    with pytest.raises(FieldError, match=words):
        parse(line)


def test_a_request_in_full() -> None:
    line = b'{"types":["drop"],"format":"json","from":[1],"to":[2],"related-to":[3],"numeric":true}'
    assert parse(line) == Request(("drop",), "json", (1,), (2,), (3,), True)
