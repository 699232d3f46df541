# SPDX-License-Identifier: Apache-2.0
"""Proxies' records over their socket into flows: ends, services, order, filters, losses, bounds."""

from __future__ import annotations

import io
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hubble_fakes import Node1, trace
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.proto import access_pb2, flow_pb2
from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_hubble.access.server import AccessRecords
from cilium_hubble.access.server import serve as serve_records
from cilium_hubble.cli.printing.printer import Options, Printer
from cilium_hubble.flows.payloads import Payloads
from cilium_hubble.flows.requests import LONGEST, origins_of
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer, handler
from cilium_hubble.state.model import Origin

TIME = 1_136_214_245_120_000_000
RULE = "CiliumNetworkPolicy data/allow-web spec.ingress[0].toPorts[0]"


def record(**fields: Any) -> access_pb2.Record:
    """Return a record of a request from web to db, which its policy let pass."""
    base = {
        "time_ns": TIME,
        "source": "10.0.0.10",
        "source_port": 40000,
        "destination": "10.0.0.11",
        "destination_port": 5432,
        "direction": 1,
        "proxy_port": 12000,
        "verdict": flow_pb2.FORWARDED,
        "protocol": 6,
        "origins": [RULE],
    }
    return access_pb2.Record(**{**base, **fields})


def http(code: int = 0, url: str = "http://db:5432/v1/items?x=1", **more: Any) -> flow_pb2.Layer7:
    """Return a request, or the response with a status."""
    kind = flow_pb2.RESPONSE if code else flow_pb2.REQUEST
    body = flow_pb2.HTTP(code=code, method="GET", url=url, protocol="HTTP/1.1", **more)
    return flow_pb2.Layer7(type=kind, latency_ns=3_400_000 if code else 0, http=body)


def dns(kind: int, **more: Any) -> flow_pb2.Layer7:
    """Return a DNS message as the proxy saw it."""
    body = flow_pb2.DNS(query="example.org.", qtypes=["A"], observation_source="proxy", **more)
    return flow_pb2.Layer7(type=kind, dns=body)


@dataclass
class Served:
    """A node whose sockets are open."""

    node: Node1
    records: AccessRecords
    flows: Any
    push: Any
    path: Path

    async def get(self, **fields: Any) -> list[pb.GetFlowsResponse]:
        return [one async for one in self.flows(pb.GetFlowsRequest(**fields))]

    async def lines(self, **fields: Any) -> list[str]:
        """Return what `hubble observe` prints."""
        out = io.StringIO()
        printer = Printer(Options(), out, out)
        for response in await self.get(**fields):
            printer.print(response)
        printer.close()
        return out.getvalue().splitlines()

    async def send(self, *records: access_pb2.Record, lost: int = 0) -> None:
        call = self.push()
        await call.write(access_pb2.Batch(number=7, records=records, lost=lost))
        assert (await call.read()).number == 7
        await call.done_writing()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    node = Node1()
    records = AccessRecords(node.ingest, lambda _rows: None)
    path, own = tmp_path / "access.sock", tmp_path / "hubble.sock"
    observer = Observer(node.ingest, node.names)
    async with (
        serve_records(path, records),
        serve(own, [handler(observer)]),
        grpc.aio.insecure_channel(f"unix:{own}") as reading,
        grpc.aio.insecure_channel(f"unix:{path}") as pushing,
    ):
        flows = reading.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=pb.GetFlowsRequest.SerializeToString,
            response_deserializer=pb.GetFlowsResponse.FromString,
        )
        push = pushing.stream_stream(
            "/cilium.python.access.v1.AccessRecords/Push",
            request_serializer=access_pb2.Batch.SerializeToString,
            response_deserializer=access_pb2.Taken.FromString,
        )
        yield Served(node, records, flows, push, path)


async def test_a_request_and_its_response_in_full(served: Served) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o600
    await served.send(
        record(l7=http(), trace_id="abc", request_id="r1"),
        record(l7=http(200), time_ns=TIME + 3_400_000),
    )
    asked, answered = [one.flow for one in await served.get()]
    assert asked.Type == answered.Type == flow_pb2.L7
    assert (asked.event_type.type, asked.event_type.sub_type) == (129, 0)
    assert (asked.source.pod_name, asked.destination.pod_name) == ("web-1", "db-0")
    assert (asked.source.identity, asked.destination.identity) == (1001, 1002)
    assert (asked.l4.TCP.source_port, asked.l4.TCP.destination_port) == (40000, 5432)
    assert not asked.l4.TCP.HasField("flags")
    assert (asked.is_reply.value, answered.is_reply.value) == (False, True)
    assert (answered.source.pod_name, answered.l4.TCP.source_port) == ("db-0", 5432)
    assert asked.trace_context.parent.trace_id == "abc"
    assert (asked.proxy_port, asked.traffic_direction) == (12000, flow_pb2.INGRESS)
    assert [p.name for p in asked.ingress_allowed_by] == ["allow-web"]
    assert asked.l7.http.url == "http://db:5432/v1/items?x=1"
    assert await served.lines() == [
        "Jan  2 15:04:05.120: shop/web-1:40000 (ID:1001) -> data/db-0:5432 (ID:1002)"
        " http-request FORWARDED (HTTP/1.1 GET http://db:5432/v1/items?x=1)",
        "Jan  2 15:04:05.123: shop/web-1:40000 (ID:1001) <- data/db-0:5432 (ID:1002)"
        " http-response FORWARDED (HTTP/1.1 200 3ms (GET http://db:5432/v1/items?x=1))",
    ]


async def test_dns_and_kafka_as_observe_prints_them(served: Served) -> None:
    ends = {"destination": "10.0.1.20", "destination_port": 53, "protocol": 17, "direction": 2}
    answer = dns(flow_pb2.RESPONSE, ips=["1.2.3.4", "5.6.7.8"], cnames=["a.b."], ttl=30)
    kafka = flow_pb2.Kafka(api_key="produce", correlation_id=4, topic="orders", error_code=29)
    await served.send(
        record(l7=dns(flow_pb2.REQUEST), **ends),
        record(l7=answer, **ends),
        record(l7=dns(flow_pb2.RESPONSE, rcode=3), **ends),
        record(l7=dns(flow_pb2.REQUEST), **{**ends, "verdict": flow_pb2.DROPPED}),
        record(l7=flow_pb2.Layer7(type=flow_pb2.RESPONSE, kafka=kafka)),
    )
    assert [re.sub("^.*?(?=dns-|kafka-)", "", line) for line in await served.lines()] == [
        "dns-request proxy FORWARDED (DNS Query example.org. A)",
        'dns-response proxy FORWARDED (DNS Answer "1.2.3.4,5.6.7.8" CNAMEs: "a.b." TTL: 30'
        " (Proxy example.org. A))",
        "dns-response proxy FORWARDED (DNS Answer RCode: Non-Existent Domain TTL: 0"
        " (Proxy example.org. A))",
        "dns-request proxy DROPPED (DNS Query example.org. A)",
        "kafka-response FORWARDED (Kafka response produce correlation id 4 topic 'orders'"
        " return code 29)",
    ]


async def test_late_records_take_their_place_in_time(served: Served) -> None:
    served.node.add(trace(time=TIME, sport=1), trace(time=TIME + 2000, sport=2))
    await served.send(record(l7=http(), time_ns=TIME + 1000))
    served.node.add(trace(time=TIME + 3000, sport=3))

    def kinds(got: list[pb.GetFlowsResponse]) -> list[int]:
        return [one.flow.l4.TCP.source_port for one in got]

    assert kinds(await served.get()) == [1, 40000, 2, 3]
    assert kinds(await served.get(number=3)) == [40000, 2, 3]
    assert kinds(await served.get(number=2, first=True)) == [1, 40000]
    since = pb.GetFlowsRequest()
    since.since.FromNanoseconds(TIME + 500)
    since.until.FromNanoseconds(TIME + 1500)
    assert kinds(await served.get(since=since.since, until=since.until)) == [40000]


async def test_the_service_is_the_one_that_the_client_meant(served: Served) -> None:
    served.node.add(trace(time=TIME, service_id=1))
    await served.send(record(l7=http()), record(l7=http(200)), record(l7=http(), source_port=1))
    _, asked, answered, other = [one.flow for one in await served.get()]
    assert asked.destination_service.name == "db"
    assert answered.source_service.name == "db"
    assert not other.HasField("destination_service")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (FlowFilter(protocol=["http"]), ["/a", "/b"]),
        (FlowFilter(protocol=["dns"]), ["dns"]),
        (FlowFilter(protocol=["http", "udp"]), ["/a", "/b", "dns"]),
        (FlowFilter(http_status_code=["404"]), ["/b"]),
        (FlowFilter(http_status_code=["4+", "500"]), ["/b"]),
        (FlowFilter(http_status_code=["2+"]), []),
        (FlowFilter(http_method=["get"]), ["/a", "/b"]),
        (FlowFilter(http_path=["^/a$"]), ["/a"]),
        (FlowFilter(http_url=["host/b"]), ["/b"]),
        (FlowFilter(http_header=[flow_pb2.HTTPHeader(key="x-a", value="1")]), ["/a"]),
        (FlowFilter(dns_query=["^example"]), ["dns"]),
        (FlowFilter(trace_id=["t1"]), ["/a"]),
        (FlowFilter(verdict=[flow_pb2.DROPPED]), ["/b"]),
        (FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=129)]), ["/a", "/b", "dns"]),
        (FlowFilter(source_pod=["shop/web"], http_path=["/"]), ["/a"]),
        (FlowFilter(reply=[True], protocol=["http"]), ["/b"]),
        (FlowFilter(drop_reason_desc=[flow_pb2.POLICY_DENIED]), []),
    ],
)
async def test_filters(served: Served, item: FlowFilter, expected: list[str]) -> None:
    served.node.add(trace(time=TIME))
    header = flow_pb2.HTTPHeader(key="X-A", value="1")
    await served.send(
        record(l7=http(url="http://host/a?q", headers=[header]), trace_id="t1"),
        record(l7=http(404, url="http://host/b"), verdict=flow_pb2.DROPPED),
        record(l7=dns(flow_pb2.REQUEST), protocol=17),
    )
    got = [one.flow.l7 for one in await served.get(whitelist=[item])]
    assert [l7.http.url[11:13] if l7.HasField("http") else "dns" for l7 in got] == expected
    kept = await served.get(blacklist=[item])
    assert len(kept) == 4 - len(expected)


async def test_names_of_addresses_come_from_answers(served: Served) -> None:
    served.node.add(trace(destination="192.0.2.7", destination_identity=2, time=TIME))
    answer = dns(flow_pb2.RESPONSE, ips=["192.0.2.7"], ttl=30)
    await served.send(record(l7=answer, time_ns=TIME + 1, destination="10.0.1.20"))
    served.node.add(
        trace(destination="192.0.2.7", destination_identity=2, time=TIME + 2),
        trace(source="192.0.2.7", source_identity=2, time=TIME + 3),
    )
    both = [FlowFilter(destination_fqdn=["example.*"]), FlowFilter(source_fqdn=["Example.org."])]
    got = [one.flow for one in await served.get(whitelist=both)]
    assert [list(flow.destination_names) for flow in got] == [["example.org"], []]
    assert list(got[1].source_names) == ["example.org"]
    assert "example.org:5432 (world)" in (await served.lines(whitelist=both[:1]))[0]
    late = TIME + (30 + 3601) * 10**9
    served.node.add(trace(destination="192.0.2.7", destination_identity=2, time=late))
    assert not (await served.get())[-1].flow.destination_names


async def test_lost_batches_are_told(served: Served) -> None:
    await served.send(record(l7=http(), time_ns=time.time_ns()), lost=12)
    lost, flow = await served.get()
    if lost.HasField("flow"):
        lost, flow = flow, lost
    assert lost.lost_events.num_events_lost == 12
    assert lost.lost_events.source == flow_pb2.OBSERVER_EVENTS_QUEUE
    assert served.records.lost == 12


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "banana"},
        {"destination_port": 70000},
        {"time_ns": 0},
        {"time_ns": 1 << 63},
        {"protocol": 1},
        {"direction": 0},
        {"verdict": 0},
    ],
)
async def test_records_that_make_no_sense_are_counted(
    served: Served, wrong: dict[str, Any]
) -> None:
    await served.send(record(l7=http(), **wrong), record(l7=http()))
    assert len(await served.get()) == 1
    assert served.node.ingest.unusable == 1


async def test_a_text_that_is_gone_or_too_long_leaves_the_flow(served: Served) -> None:
    header = flow_pb2.HTTPHeader(key="a", value="b" * LONGEST)
    await served.send(
        record(l7=http(headers=[header]), source_port=1),
        record(l7=http(url="http://x/" + "y" * LONGEST), source_port=2),
    )
    cut, gone = [one.flow for one in await served.get()]
    assert cut.l7.http.method == "GET"
    assert not cut.l7.http.headers
    assert (gone.l7.type, gone.l7.WhichOneof("record"), gone.Summary) == (1, None, "")
    assert gone.source.pod_name == "web-1"


@given(st.lists(st.binary(max_size=400), max_size=60), st.integers(0, 4000))
def test_payloads_stay_within_their_budget(texts: list[bytes], budget: int) -> None:
    payloads = Payloads(budget)
    numbers = [payloads.add(text) for text in texts]
    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers
    assert payloads.bytes <= budget
    held = [payloads.get(number) for number in numbers]
    kept = [text for text in held if text is not None]
    assert held == [None] * (len(texts) - len(kept)) + texts[len(texts) - len(kept) :]
    assert payloads.forgotten == len(texts) - len(kept)


def test_origins() -> None:
    assert origins_of(
        (
            RULE,
            "NetworkPolicy ns/p",
            "ClusterWide name f",
            "",
            "x",
        )
    ) == (
        Origin("CiliumNetworkPolicy", "data", "allow-web", "spec.ingress[0].toPorts[0]"),
        Origin("NetworkPolicy", "ns", "p"),
        Origin("ClusterWide", "", "name", "f"),
    )
