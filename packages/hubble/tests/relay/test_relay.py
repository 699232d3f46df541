# SPDX-License-Identifier: Apache-2.0
"""Relay over real connections: order, numbers, nodes that come, go and return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from hubble_fakes import drop, trace
from relay_fakes import Cluster, cluster, read_flow, read_status

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_core.proto.batches_pb2 import Batch
from cilium_core.proto.flow_pb2 import FlowFilter
from cilium_hubble.observer.batches import METHOD

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def two() -> AsyncIterator[Cluster]:
    """Two nodes, one of another make; times interleave: a has the even ones, b the odd."""
    async with cluster() as made:
        first = await made.add("a")
        second = await made.add("b", batched=False)
        first.hubble.add(*(trace(sport=n, time=1000 + n) for n in range(0, 600, 2)))
        second.hubble.add(*(trace(sport=n, time=1000 + n) for n in range(1, 600, 2)))
        yield made


async def test_all_nodes_in_order_and_who_was_asked(two: Cluster) -> None:
    got = await two.flows()
    status = got[0].node_status
    assert (status.state_change, list(status.node_names)) == (1, ["a", "b"])
    assert got[0].node_name == "relay-1"
    assert [r.flow.l4.TCP.source_port for r in got[1:]] == list(range(600))
    assert [r.node_name for r in got[1:3]] == ["default/a", "default/b"]
    assert two.relay.late == 0
    assert two.relay.subscribers == 0


async def test_first_last_since_until_and_filters(two: Cluster) -> None:
    assert await two.ports(number=7, first=True) == list(range(7))
    assert await two.ports(number=5) == list(range(595, 600))
    everything = (1 << 64) - 1
    assert await two.ports(number=everything) == list(range(600))
    request = pb.GetFlowsRequest()
    request.since.FromNanoseconds(1010)
    request.until.FromNanoseconds(1013)
    assert await two.ports(since=request.since, until=request.until) == [10, 11, 12, 13]
    assert await two.ports(whitelist=[FlowFilter(source_port=["4", "5"])]) == [4, 5]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await two.flows(whitelist=[FlowFilter(source_ip=["x"])])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "whitelist[0].source_ip[0]" in (caught.value.details() or "")


async def test_batches_for_those_who_take_them(two: Cluster) -> None:
    method = two.channel.unary_stream(
        METHOD,
        request_serializer=pb.GetFlowsRequest.SerializeToString,
        response_deserializer=Batch.FromString,
    )
    got = [batch async for batch in method(pb.GetFlowsRequest())]
    raw = [one for batch in got for one in batch.responses]
    flows = [pb.GetFlowsResponse.FromString(one).flow.l4.TCP.source_port for one in raw[1:]]
    assert flows == list(range(600))
    times = np.concatenate([np.frombuffer(batch.times, "<i8") for batch in got])
    assert len(times) == 601
    assert (np.diff(times) >= 0).all()


async def test_followers_get_a_quiet_clusters_flows_soon() -> None:
    async with cluster(patience=30.0) as made:
        first, second = await made.add("a"), await made.add("b")
        stream = made.stream(follow=True)
        await read_status(stream)
        await asyncio.sleep(0.2)
        for number in range(20):
            node = (first, second)[number % 2]
            began = time.monotonic()
            node.hubble.add(trace(sport=number, time=time.time_ns()))
            assert await read_flow(stream) == number
            assert time.monotonic() - began < 1.0  # b says that it has nothing, in time
        stream.cancel()


async def test_a_node_that_goes_is_told_and_taken_up_where_it_was() -> None:
    async with cluster() as made:
        node = await made.add("a")
        other = await made.add("b")
        stream = made.stream(follow=True)
        assert (await read_status(stream)).state_change == relay_pb2.NODE_CONNECTED
        await asyncio.sleep(0.2)
        node.hubble.add(trace(sport=1, time=time.time_ns()))
        assert await read_flow(stream) == 1
        await node.stop()
        began = time.monotonic()
        lost = await read_status(stream)
        assert (lost.state_change, list(lost.node_names)) == (relay_pb2.NODE_UNAVAILABLE, ["a"])
        assert time.monotonic() - began < 3.0
        node.hubble.add(trace(sport=2, time=time.time_ns()))  # nobody reads this now
        other.hubble.add(trace(sport=3, time=time.time_ns()))
        assert await read_flow(stream) == 3
        await node.start()
        got = [await stream.read() for _ in range(2)]  # in either order
        (back,) = [one.node_status for one in got if one.HasField("node_status")]
        assert (back.state_change, list(back.node_names)) == (relay_pb2.NODE_CONNECTED, ["a"])
        assert [one.flow.l4.TCP.source_port for one in got if one.HasField("flow")] == [2]
        made.pool.remove("a")
        gone = await read_status(stream)
        assert (gone.state_change, list(gone.node_names)) == (relay_pb2.NODE_GONE, ["a"])
        stream.cancel()


async def test_a_new_node_is_followed_from_when_the_request_began() -> None:
    async with cluster() as made:
        await made.add("a")
        stream = made.stream(follow=True)
        await read_status(stream)
        at = time.time_ns()
        new = await made.add("new")
        new.hubble.add(trace(sport=1, time=at - 10**12), trace(sport=2, time=at))
        assert await read_flow(stream) == 2
        stream.cancel()


async def test_a_client_that_does_not_read_holds_the_nodes_back_only() -> None:
    async with cluster(limit=64) as made:
        node = await made.add("a")
        node.hubble.store.capacity = 30_000
        node.hubble.add(*(trace(sport=n % 60000, time=1000 + n) for n in range(30_000)))
        stream = made.stream()
        await read_status(stream)
        await asyncio.sleep(0.5)
        assert made.relay.flows < 20_000
        status = await made.call("ServerStatus", pb.ServerStatusRequest(), pb.ServerStatusResponse)
        assert status.num_flows == 30_000
        assert [await read_flow(stream) for _ in range(30_000)] == list(range(30_000))


async def test_what_a_follower_does_not_read_in_time_is_told_as_lost() -> None:
    async with cluster(limit=64) as made:
        node = await made.add("a")
        stream = made.stream(follow=True, whitelist=[FlowFilter(source_port=["7"])])
        await read_status(stream)
        await asyncio.sleep(0.2)
        now = time.time_ns()
        node.hubble.add(*(trace(sport=5, time=now) for _ in range(70_000)))
        node.hubble.add(trace(sport=7, time=now))
        response = await stream.read()
        assert response.lost_events.num_events_lost > 0
        assert await read_flow(stream) == 7
        stream.cancel()


async def test_status_nodes_and_namespaces_are_added_up(two: Cluster) -> None:
    two.nodes["b"].hubble.add(drop(time=time.time_ns()))
    status = await two.call("ServerStatus", pb.ServerStatusRequest(), pb.ServerStatusResponse)
    assert (status.num_flows, status.max_flows, status.seen_flows) == (601, 2 * 4095, 601)
    assert (status.num_connected_nodes.value, status.num_unavailable_nodes.value) == (2, 0)
    assert status.version == "hubble-relay v0.1.0"
    assert status.uptime_ns > 0
    await two.nodes["a"].stop()
    await two.until("a", connected=False)
    status = await two.call("ServerStatus", pb.ServerStatusRequest(), pb.ServerStatusResponse)
    assert (status.num_connected_nodes.value, list(status.unavailable_nodes)) == (1, ["a"])
    nodes = (await two.call("GetNodes", pb.GetNodesRequest(), pb.GetNodesResponse)).nodes
    assert [(n.name, n.state, n.num_flows) for n in nodes] == [
        ("a", relay_pb2.NODE_UNAVAILABLE, 0),
        ("b", relay_pb2.NODE_CONNECTED, 301),
    ]
    assert nodes[1].address == two.nodes["b"].address
    reply = await two.call("GetNamespaces", pb.GetNamespacesRequest(), pb.GetNamespacesResponse)
    assert [(n.cluster, n.namespace) for n in reply.namespaces] == [
        ("default", "data"),
        ("default", "shop"),
    ]
    got = await two.flows(number=1)
    assert [list(r.node_status.node_names) for r in got[:2]] == [["b"], ["a"]]
