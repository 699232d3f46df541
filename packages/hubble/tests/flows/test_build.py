# SPDX-License-Identifier: Apache-2.0
"""Stored rows as flow.Flow messages, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hubble_fakes import DB_LABELS, WEB_LABELS, Node1, drop, trace, verdict

from cilium_core.proto import flow_pb2
from cilium_core.proto.observer_pb2 import GetFlowsResponse
from cilium_hubble.flows.build import FlowBuilder
from cilium_hubble.flows.chunk import Chunk
from cilium_hubble.flows.summary import icmp, summary
from cilium_hubble.flows.words import (
    DROP_REASONS,
    drop_reason,
    match,
    observation_point,
    state,
)


def responses(*rows: dict[str, Any]) -> list[GetFlowsResponse]:
    node = Node1()
    return list(FlowBuilder(node.names).responses(Chunk.of(node.add(*rows), 0)))


def flow(row: dict[str, Any]) -> dict[str, Any]:
    (response,) = responses(row)
    return MessageToDict(response.flow, preserving_proto_field_name=True)


def test_a_forwarded_packet_in_full() -> None:
    (response,) = responses(trace(time=1_500_000_000, ifindex=4, service_id=1))
    assert MessageToDict(response, preserving_proto_field_name=True) == {
        "node_name": "default/worker",
        "time": "1970-01-01T00:00:01.500Z",
        "flow": {
            "time": "1970-01-01T00:00:01.500Z",
            "uuid": "00000000-0000-8001-8000-000000000000",
            "emitter": {"name": "Hubble", "version": "0.1.0"},
            "verdict": "FORWARDED",
            "IP": {"source": "10.0.0.10", "destination": "10.0.0.11", "ipVersion": "IPv4"},
            "l4": {"TCP": {"source_port": 40000, "destination_port": 5432, "flags": {"SYN": True}}},
            "source": {
                "ID": 7,
                "identity": 1001,
                "cluster_name": "default",
                "namespace": "shop",
                "labels": list(WEB_LABELS),
                "pod_name": "web-1",
                "workloads": [{"name": "web", "kind": "Deployment"}],
            },
            "destination": {
                "ID": 8,
                "identity": 1002,
                "cluster_name": "default",
                "namespace": "data",
                "labels": list(DB_LABELS),
                "pod_name": "db-0",
            },
            "Type": "L3_L4",
            "node_name": "default/worker",
            "node_labels": ["kubernetes.io/os=linux", "zone=a"],
            "event_type": {"type": 4},
            "destination_service": {"name": "db", "namespace": "data"},
            "traffic_direction": "INGRESS",
            "trace_observation_point": "TO_ENDPOINT",
            "trace_reason": "NEW",
            "is_reply": False,
            "interface": {"index": 4, "name": "eth4"},
            "Summary": "TCP Flags: SYN",
        },
    }


def test_a_drop_has_its_reason_and_line() -> None:
    made = flow(drop(direction=2))
    assert made["verdict"] == "DROPPED"
    assert (made["drop_reason"], made["drop_reason_desc"]) == (133, "POLICY_DENIED")
    assert made["event_type"] == {"type": 1, "sub_type": 133}
    assert made["file"] == {"name": "bpf", "line": 42}
    assert made["traffic_direction"] == "EGRESS"
    assert "is_reply" not in made
    assert "trace_reason" not in made


def test_a_verdict_names_the_policy() -> None:
    made = flow(verdict())
    assert made["event_type"] == {"type": 5}
    assert made["policy_match_type"] == 2
    assert made["ingress_allowed_by"] == [
        {"name": "allow-web", "namespace": "data", "revision": "5", "kind": "CiliumNetworkPolicy"}
    ]
    assert "drop_reason" not in made


def test_a_denied_verdict_has_its_reason_but_no_subtype() -> None:
    made = flow(verdict(subtype=181, policy=9))
    assert made["event_type"] == {"type": 5}
    assert made["drop_reason_desc"] == "POLICY_DENY"
    assert not any("by" in name.split("_") for name in made)


def test_replies() -> None:
    made = flow(trace(state=3, subtype=3))
    assert made["is_reply"] is made["reply"] is True
    assert made["trace_observation_point"] == "TO_STACK"
    assert made["event_type"] == {"type": 4, "sub_type": 3}


@pytest.mark.parametrize(
    ("fields", "layer", "line"),
    [
        ({"proto": 17}, {"UDP": {"source_port": 40000, "destination_port": 5432}}, "UDP"),
        ({"proto": 132}, {"SCTP": {"source_port": 40000, "destination_port": 5432}}, "SCTP"),
        (
            {"proto": 1, "icmp_type": 8},
            {"ICMPv4": {"type": 8}},
            "ICMPv4 EchoRequest",
        ),
        (
            {"proto": 58, "flags": 1, "icmp_type": 129},
            {"ICMPv6": {"type": 129}},
            "ICMPv6 EchoReply",
        ),
        ({"proto": 1, "icmp_type": 0}, {"ICMPv4": {}}, "ICMPv4 EchoReply"),
        ({"proto": 112}, {"VRRP": {}}, "VRRP"),
        ({"proto": 2}, {"IGMP": {}}, "IGMP"),
        ({"proto": 47}, None, "IPv4"),
        ({"proto": 47, "flags": 1}, None, "IPv6"),
    ],
)
def test_layer_four(fields: dict[str, int], layer: dict[str, Any] | None, line: str) -> None:
    made = flow(trace(**fields))
    assert made.get("l4") == layer
    assert made["Summary"] == line


def test_ipv6_addresses() -> None:
    made = flow(trace(source="fd00::1", destination="fd00::2", flags=1))
    assert made["IP"] == {"source": "fd00::1", "destination": "fd00::2", "ipVersion": "IPv6"}


def test_lost_events() -> None:
    node = Node1()
    rows = node.ingest.lost({1: 5, 3: 2}, since=1_000_000_000, now=2_000_000_000)
    made = list(FlowBuilder(node.names).responses(Chunk.of(rows, 0)))
    assert [response.lost_events.num_events_lost for response in made] == [5, 2]
    assert MessageToDict(made[1], preserving_proto_field_name=True) == {
        "node_name": "default/worker",
        "time": "1970-01-01T00:00:02Z",
        "lost_events": {
            "source": "PERF_EVENT_RING_BUFFER",
            "num_events_lost": "2",
            "cpu": 3,
            "first": "1970-01-01T00:00:01Z",
            "last": "1970-01-01T00:00:02Z",
        },
    }


@pytest.mark.parametrize(
    ("kind", "code", "ipv6", "text"),
    [
        (3, 3, False, "DestinationUnreachable(Port)"),
        (3, 4, False, "DestinationUnreachable(FragmentationNeeded)"),
        (3, 99, False, "DestinationUnreachable(Code: 99)"),
        (11, 0, False, "TimeExceeded(TTLExceeded)"),
        (8, 3, False, "EchoRequest(Code: 3)"),
        (200, 7, False, "200(7)"),
        (1, 4, True, "DestinationUnreachable(PortUnreachable)"),
        (135, 0, True, "NeighborSolicitation"),
        (2, 0, True, "PacketTooBig"),
    ],
)
def test_icmp_words(kind: int, code: int, ipv6: bool, text: str) -> None:
    assert icmp(kind, code, ipv6=ipv6) == text


def test_tcp_flags_in_upstreams_order() -> None:
    assert summary(6, 0xFF, 0, 0, ipv6=False) == (
        "TCP Flags: SYN, ACK, RST, FIN, PSH, URG, ECE, CWR"
    )
    assert summary(6, 0, 0, 0, ipv6=False) == "TCP Flags: "


def test_words_fall_back_to_numbers() -> None:
    assert drop_reason(133) == "Policy denied"
    assert (drop_reason(159), observation_point(99), match(9), state(9)) == ("159", "99", "9", "9")
    assert (observation_point(0), match(0), state(3)) == ("to-endpoint", "none", "reply")


def test_every_drop_reason_of_the_api_has_words() -> None:
    numbers = {number for number in flow_pb2.DropReason.values() if number}
    assert numbers <= set(DROP_REASONS)
