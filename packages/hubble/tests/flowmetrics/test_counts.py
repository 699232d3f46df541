# SPDX-License-Identifier: Apache-2.0
"""Counters against flows, by upstream's names and labels."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hubble_fakes import Node1, drop, trace, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from cilium_core.proto import flow_pb2
from cilium_core.proto.access_pb2 import Record
from cilium_hubble.flowmetrics.all import FlowMetrics
from cilium_hubble.flowmetrics.options import parse


class Told(Collector):
    """A node whose flows are counted, and what a scrape says."""

    def __init__(self, asked: str) -> None:
        self.node = Node1()
        self.metrics = FlowMetrics(parse(asked), self.node.names)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Any:
        return self.metrics.collect()

    def add(self, *rows: dict[str, Any]) -> None:
        self.metrics.add(self.node.add(*rows))

    def requests(self, *records: Record) -> None:
        self.metrics.add_requests(self.node.ingest.add_requests(records))

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)

    def names(self) -> set[str]:
        text = generate_latest(self._registry).decode()
        return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def record(**fields: Any) -> Record:
    """Return a record between web and db."""
    ends = {"source": "10.0.0.10", "source_port": 3, "destination": "10.0.0.11"}
    base = {"time_ns": 7, "destination_port": 80, "protocol": 6, "direction": 1, "verdict": 1}
    return Record(**{**ends, **base, **fields})


def test_nothing_but_flows_is_counted_unless_asked() -> None:
    told = Told("")
    told.add(trace(), drop())
    assert told.names() == {"hubble_flows_processed_total"}
    same = {"protocol": "TCP", "subtype": ""}
    value = told.value("hubble_flows_processed_total", type="Drop", verdict="DROPPED", **same)
    assert value == 1


def test_packets() -> None:
    told = Told("drop tcp icmp port-distribution policy flow:sourceContext=pod")
    told.add(
        *(trace(tcp_flags=flags) for flags in (0x02, 0x12, 0x11, 0x04, 0x10)),
        trace(state=3, dport=40000, tcp_flags=0x10),  # an answer
        drop(),
        drop(subtype=181),
        verdict(),
        verdict(subtype=133),
        trace(proto=1, icmp_type=8, sport=0, dport=0, tcp_flags=0),
    )
    assert told.value("hubble_drop_total", reason="POLICY_DENIED", protocol="TCP") == 2
    assert told.value("hubble_drop_total", reason="POLICY_DENY", protocol="TCP") == 1
    flags = {
        flag: told.value("hubble_tcp_flags_total", flag=flag, family="IPv4")
        for flag in ("SYN", "SYN-ACK", "FIN", "RST")
    }
    assert flags == {"SYN": 2, "SYN-ACK": 1, "FIN": 1, "RST": 1}  # the verdict is of a SYN
    assert told.value("hubble_icmp_total", family="IPv4", type="EchoRequest") == 1
    assert told.value("hubble_port_distribution_total", protocol="TCP", port="5432") == 6
    assert told.value("hubble_port_distribution_total", protocol="TCP", port="40000") is None
    assert told.value("hubble_port_distribution_total", protocol="ICMPv4", port="0") == 1
    policy = {"direction": "ingress", "match": "l3-l4"}
    assert told.value("hubble_policy_verdicts_total", action="forwarded", **policy) == 1
    assert told.value("hubble_policy_verdicts_total", action="dropped", **policy) == 1
    flow = {"protocol": "TCP", "type": "Drop", "subtype": "", "verdict": "DROPPED"}
    assert told.value("hubble_flows_processed_total", source="shop/web-1", **flow) == 2


def test_contexts_and_labels() -> None:
    told = Told(
        "drop:sourceContext=reserved-identity|workload;destinationContext=dns|ip"
        " tcp:labelsContext=source_workload,source_workload_kind,source_app,destination_ip,"
        "destination_namespace,traffic_direction"
        " port-distribution:sourceEgressContext=namespace;sourceContext=pod-name"
    )
    told.add(drop(), drop(source="8.8.8.8", source_identity=2), trace())
    same = {"reason": "POLICY_DENIED", "protocol": "TCP", "destination": "10.0.0.11"}
    assert told.value("hubble_drop_total", source="shop/web", **same) == 1
    assert told.value("hubble_drop_total", source="reserved:world", **same) == 1
    labels = {
        "source_workload": "web",
        "source_workload_kind": "Deployment",
        "source_app": "web",
        "destination_ip": "10.0.0.11",
        "destination_namespace": "data",
        "traffic_direction": "ingress",
    }
    assert told.value("hubble_tcp_flags_total", flag="SYN", family="IPv4", **labels) == 1
    port = {"protocol": "TCP", "port": "5432"}
    assert told.value("hubble_port_distribution_total", source="web-1", **port) == 1
    told.add(trace(direction=2))
    assert told.value("hubble_port_distribution_total", source="shop", **port) == 1


def test_flows_to_world() -> None:
    world = {"destination": "8.8.8.8", "destination_identity": 2, "direction": 2}
    told = Told("flows-to-world:port;syn-only")
    told.add(trace(**world), trace(**world, tcp_flags=0x10), trace(**world, state=3), trace())
    told.add(drop(**world), drop(**world, subtype=132))
    same = {"protocol": "TCP", "port": "5432"}
    assert told.value("hubble_flows_to_world_total", verdict="FORWARDED", **same) == 1
    assert told.value("hubble_flows_to_world_total", verdict="DROPPED", **same) == 1
    every = Told("flows-to-world:any-drop")
    every.add(drop(**world, subtype=132))
    assert every.value("hubble_flows_to_world_total", verdict="DROPPED", protocol="TCP") == 1


def _http(kind: int, latency: int = 0) -> Record:
    one = record(direction=2)
    one.l7.type, one.l7.latency_ns = kind, latency  # type: ignore[assignment]
    one.l7.http.method, one.l7.http.protocol, one.l7.http.code = "GET", "HTTP/1.1", 200
    return one


def test_http() -> None:
    told = Told("http:sourceContext=pod")
    told.requests(_http(flow_pb2.REQUEST), _http(flow_pb2.RESPONSE, 30_000_000))
    same = {"method": "GET", "protocol": "HTTP/1.1", "reporter": "client"}
    assert told.value("hubble_http_requests_total", source="shop/web-1", **same) == 1
    value = told.value("hubble_http_responses_total", status="200", source="data/db-0", **same)
    assert value == 1
    timed = {"method": "GET", "reporter": "client", "source": "data/db-0"}
    assert told.value("hubble_http_request_duration_seconds_sum", **timed) == pytest.approx(0.03)
    bucket = "hubble_http_request_duration_seconds_bucket"
    assert told.value(bucket, le="0.025", **timed) == 0
    assert told.value(bucket, le="0.05", **timed) == 1
    assert told.value(bucket, le="+Inf", **timed) == 1


def test_http_of_the_second_kind_names_the_client_as_source() -> None:
    told = Told("httpV2:labelsContext=source_namespace,destination_workload;sourceContext=pod")
    told.requests(_http(flow_pb2.REQUEST), _http(flow_pb2.RESPONSE, 30_000_000))
    assert "hubble_http_responses_total" not in told.names()
    labels = {"method": "GET", "protocol": "HTTP/1.1", "status": "200", "reporter": "client"}
    more = {"source_namespace": "shop", "destination_workload": "", "source": "shop/web-1"}
    assert told.value("hubble_http_requests_total", **labels, **more) == 1


def test_dns() -> None:
    told = Told("dns:query;ignoreAAAA")

    def dns(kind: int, qtype: str = "A", **fields: Any) -> Record:
        one = record(protocol=17, destination_port=53, **fields)
        one.l7.type = kind  # type: ignore[assignment]
        one.l7.dns.query = "db.local."
        one.l7.dns.qtypes.append(qtype)
        return one

    answer = dns(flow_pb2.RESPONSE)
    answer.l7.dns.ips.extend(["10.0.0.1", "10.0.0.2"])
    answer.l7.dns.rrtypes.append("A")
    failed = dns(flow_pb2.RESPONSE)
    failed.l7.dns.rcode = 3
    told.requests(
        *(dns(flow_pb2.REQUEST), dns(flow_pb2.REQUEST, "AAAA"), answer, failed),
        dns(flow_pb2.REQUEST, verdict=2),
    )
    same = {"qtypes": "A", "query": "db.local."}
    value = told.value
    assert value("hubble_dns_queries_total", rcode="", ips_returned="0", **same) == 1
    assert value("hubble_dns_queries_total", rcode="Policy denied", ips_returned="0", **same) == 1
    assert value("hubble_dns_responses_total", rcode="No Error", ips_returned="2", **same) == 1
    name = "Non-Existent Domain"
    assert value("hubble_dns_responses_total", rcode=name, ips_returned="0", **same) == 1
    assert value("hubble_dns_response_types_total", type="A", **same) == 1


_ROWS = st.lists(
    st.tuples(st.sampled_from([6, 17, 1]), st.integers(0, 31), st.integers(1, 3), st.booleans()),
    max_size=60,
)


@given(_ROWS)
@settings(deadline=None)
def test_equals_counting_one_by_one(rows: list[tuple[int, int, int, bool]]) -> None:
    """Columns of a batch are counted as its flows would be."""
    told = Told("tcp port-distribution")
    flags: Counter[str] = Counter()
    ports: Counter[tuple[str, str]] = Counter()
    made = []
    for proto, bits, port, answer in rows:
        tcp_flags = bits if proto == 6 else 0
        state = 3 if answer else 1
        made.append(trace(proto=proto, tcp_flags=tcp_flags, dport=port, state=state))
        for flag, bit in (("FIN", 1), ("RST", 4)):
            flags[flag] += bool(tcp_flags & bit)
        if tcp_flags & 2:
            flags["SYN-ACK" if tcp_flags & 16 else "SYN"] += 1
        if not answer:
            name = {6: "TCP", 17: "UDP", 1: "ICMPv4"}[proto]
            ports[name, "0" if proto == 1 else str(port)] += 1
    if made:
        told.add(*made)
    for flag, count in flags.items():
        assert (told.value("hubble_tcp_flags_total", flag=flag, family="IPv4") or 0) == count
    for (name, number), count in ports.items():
        value = told.value("hubble_port_distribution_total", protocol=name, port=number)
        assert value == count
