# SPDX-License-Identifier: Apache-2.0
"""The Observer API over a real unix socket."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubble_fakes import drop, trace

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto.flow_pb2 import HUBBLE_RING_BUFFER, PERF_EVENT_RING_BUFFER, FlowFilter
from cilium_hubble.flows.store import MIN_SLOTS
from cilium_hubble.observer.rate import Rate

DROPPED = FlowFilter(verdict=[2])


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Flows whose source port is their number and time is as many seconds."""
    return [trace(sport=n, time=n * 10**9) for n in range(start, start + count)]


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 10**9))


async def test_all_of_an_empty_store(served: Any) -> None:
    assert await served.flows() == []


@pytest.mark.parametrize(
    ("request_fields", "ports"),
    [
        ({}, range(5, 20)),  # the store shows 15
        ({"number": 3}, [17, 18, 19]),
        ({"number": 100}, range(5, 20)),
        ({"number": 2**64 - 1}, range(5, 20)),
        ({"number": 3, "first": True}, [5, 6, 7]),
        ({"first": True}, range(5, 20)),
        ({"since": at(16.5)}, [17, 18, 19]),
        ({"since": at(17)}, [17, 18, 19]),
        ({"since": at(3)}, range(5, 20)),
        ({"until": at(7)}, [5, 6, 7]),
        ({"since": at(8), "until": at(10)}, [8, 9, 10]),
        ({"since": at(8), "number": 2}, [8, 9]),
        ({"number": 2, "until": at(7)}, [6, 7]),
        ({"since": at(30)}, []),
        ({"until": at(2)}, []),
        ({"since": at(8), "until": at(20), "follow": True, "number": 2}, range(8, 20)),
    ],
)
async def test_which_flows(served: Any, request_fields: dict[str, Any], ports: Any) -> None:
    served.node.add(*numbered(20))
    if request_fields.get("follow"):
        served.node.add(trace(sport=99, time=30 * 10**9))
    assert await served.ports(**request_fields) == list(ports)


async def test_numbers_count_only_what_passes(served: Any) -> None:
    rows = [drop(sport=n) if n % 4 == 0 else trace(sport=n) for n in range(15)]
    served.node.add(*rows)
    assert await served.ports(number=2, whitelist=[DROPPED]) == [8, 12]
    assert await served.ports(number=2, first=True, whitelist=[DROPPED]) == [0, 4]
    assert await served.ports(number=2, blacklist=[DROPPED]) == [13, 14]


async def test_numbers_are_kept_over_many_stretches(served: Any) -> None:
    served.node.store.capacity = 4095
    served.node.add(*(trace(sport=n) for n in range(2000)))
    assert await served.ports(number=1300, first=True) == list(range(1300))
    assert await served.ports(number=1300) == list(range(700, 2000))
    odd = FlowFilter(source_port=[str(n) for n in range(1, 2000, 2)])
    assert await served.ports(number=700, whitelist=[odd]) == list(range(601, 2000, 2))


async def test_followers_get_what_comes_and_filters_hold(served: Any) -> None:
    served.node.add(*numbered(3))
    stream = served.stream(follow=True, whitelist=[DROPPED])
    await stream.initial_metadata()
    await asyncio.sleep(0.05)
    for number in range(50):
        served.node.add(trace(sport=number), drop(sport=100 + number))
        await asyncio.sleep(0)
    got = [(await stream.read()).flow.l4.TCP.source_port for _ in range(50)]
    assert got == list(range(100, 150))
    assert served.observer.subscribers == 1
    stream.cancel()
    await asyncio.sleep(0.05)
    assert served.observer.subscribers == 0


async def test_follow_with_a_number_begins_in_the_past(served: Any) -> None:
    served.node.add(*numbered(5))
    stream = served.stream(follow=True, number=2)
    assert [(await stream.read()).flow.l4.TCP.source_port for _ in range(2)] == [3, 4]
    served.node.add(*numbered(1, start=5))
    assert (await stream.read()).flow.l4.TCP.source_port == 5
    stream.cancel()


async def test_lost_events_come_in_their_place_and_are_not_counted(served: Any) -> None:
    served.node.add(*numbered(2))
    served.node.ingest.lost({1: 7}, 10**9, 2 * 10**9)
    served.node.add(*numbered(2, start=2))
    got = await served.flows(number=3, whitelist=[FlowFilter(source_port=["1", "2", "3"])])
    kinds = [response.WhichOneof("response_types") for response in got]
    assert kinds == ["flow", "lost_events", "flow", "flow"]
    lost = got[1].lost_events
    assert (lost.source, lost.num_events_lost, lost.cpu.value) == (PERF_EVENT_RING_BUFFER, 7, 1)
    assert got[1].node_name == "default/worker"


async def test_a_follower_that_is_too_slow_is_told_what_it_missed(served: Any) -> None:
    stream = served.stream(follow=True)
    await stream.initial_metadata()
    await asyncio.sleep(0.05)
    served.node.add(*(trace(sport=n % 60000) for n in range(MIN_SLOTS)))
    served.node.add(*(trace(sport=60001) for _ in range(1000)))
    first = await stream.read()
    assert first.lost_events.source == HUBBLE_RING_BUFFER
    assert first.lost_events.num_events_lost == 1000
    assert (await stream.read()).flow.l4.TCP.source_port == 1000
    stream.cancel()
    await asyncio.sleep(0.05)
    assert served.observer.missed == 1000


async def test_ingest_goes_on_while_somebody_reads_everything(served: Any) -> None:
    served.node.store.capacity = MIN_SLOTS
    served.node.add(*(trace(sport=n % 60000) for n in range(5_000)))
    reading = asyncio.create_task(served.flows())
    slowest = 0.0
    while not reading.done():
        before = time.monotonic()
        await asyncio.sleep(0)
        slowest = max(slowest, time.monotonic() - before)
    assert slowest < 0.5
    assert len(await reading) == 5_000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"first": True, "follow": True}, "first: cannot be specified with follow"),
        ({"whitelist": [FlowFilter(ip_trace_id=[1])]}, "whitelist[0].ip_trace_id: is not"),
        ({"blacklist": [FlowFilter(source_ip=["x"])]}, "blacklist[0].source_ip[0]: 'x' is neither"),
        ({"field_mask": FieldMask(paths=["source.shoe"])}, "field_mask: 'source.shoe' is not"),
        ({"since": Timestamp(nanos=-1)}, "since: is not a time"),
    ],
)
async def test_bad_requests_name_the_field(served: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.flows(**fields)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_a_field_mask_leaves_the_rest_out(served: Any) -> None:
    served.node.add(trace(sport=7))
    (response,) = await served.flows(field_mask=FieldMask(paths=["source.pod_name", "verdict"]))
    assert {field.name for field, _ in response.flow.ListFields()} == {"source", "verdict"}
    assert [field.name for field, _ in response.flow.source.ListFields()] == ["pod_name"]
    assert response.HasField("time")


async def test_status(served: Any) -> None:
    served.node.add(*numbered(20))
    served.observer.rate.sample(0, 0)
    served.observer.rate.sample(10, 20)
    status = await served.call("ServerStatus", pb.ServerStatusRequest(), pb.ServerStatusResponse)
    assert (status.num_flows, status.max_flows, status.seen_flows) == (15, 15, 20)
    assert status.flows_rate == 2.0
    assert status.uptime_ns > 0
    assert status.version == "hubble v0.1.0"
    assert not status.HasField("num_connected_nodes")


async def test_nodes_and_namespaces(served: Any) -> None:
    now = time.time_ns()
    served.node.add(trace(time=now))
    served.node.ingest.namespaces["default", "old"] = now - 3601 * 10**9
    nodes = await served.call("GetNodes", pb.GetNodesRequest(), pb.GetNodesResponse)
    assert [(node.name, node.num_flows, node.state) for node in nodes.nodes] == [
        ("default/worker", 1, 1)
    ]
    reply = await served.call("GetNamespaces", pb.GetNamespacesRequest(), pb.GetNamespacesResponse)
    assert [(n.cluster, n.namespace) for n in reply.namespaces] == [
        ("default", "data"),
        ("default", "shop"),
    ]


async def test_health_version_and_what_is_not_there(served: Any) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "observer.Observer"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    stream = served.stream()
    assert ("hubble-server-version", "0.1.0") in tuple(await stream.initial_metadata())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call("GetAgentEvents", pb.GetAgentEventsRequest(), pb.GetAgentEventsResponse)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert served.path.stat().st_mode & 0o777 == 0o660


def test_the_rate_is_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.per_second() == 0
    for second in range(200):
        rate.sample(float(second), second * 10 if second < 100 else 1000 + (second - 100) * 30)
    assert rate.per_second() == 30.0
