# SPDX-License-Identifier: Apache-2.0
"""Flows in batches: the same answers as GetFlows, times that never go back, and quiet told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from hubble_fakes import Node1, trace

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto.batches_pb2 import Batch
from cilium_hubble.observer.batches import METHOD, handler
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[Node1, Any]]:
    made = Node1()
    path = tmp_path / "hubble.sock"
    served = handler(Observer(made.ingest, made.names, time.time_ns))
    async with serve(path, [served]), grpc.aio.insecure_channel(f"unix:{path}") as channel:
        yield (
            made,
            channel.unary_stream(
                METHOD,
                request_serializer=pb.GetFlowsRequest.SerializeToString,
                response_deserializer=Batch.FromString,
            ),
        )


def ports(batches: list[Batch]) -> list[int]:
    raw = [response for batch in batches for response in batch.responses]
    return [pb.GetFlowsResponse.FromString(one).flow.l4.TCP.source_port for one in raw]


def times(batch: Batch) -> list[int]:
    return [int(one) for one in np.frombuffer(batch.times, "<i8")]


async def test_all_of_the_past(node: tuple[Node1, Any]) -> None:
    made, get = node
    made.add(*(trace(sport=n, time=1000 + n) for n in range(700)))
    got = [batch async for batch in get(pb.GetFlowsRequest())]
    assert ports(got) == list(range(700))
    assert [one for batch in got for one in times(batch)] == list(range(1000, 1700))
    assert [batch.complete_to for batch in got][:-1] == [times(batch)[-1] for batch in got][:-1]
    assert got[-1].complete_to > 1700  # the store is complete up to now
    assert len(got) < 10


async def test_a_follower_hears_that_a_node_is_quiet(node: tuple[Node1, Any]) -> None:
    made, get = node
    before = time.time_ns()
    stream = get(pb.GetFlowsRequest(follow=True))
    quiet = await stream.read()
    assert not quiet.responses
    assert before - 10**9 < quiet.complete_to <= time.time_ns()
    late = before - 10**10
    made.add(trace(sport=7, time=late))
    async with asyncio.timeout(5):
        while not (batch := await stream.read()).responses:
            pass
    assert ports([batch]) == [7]
    assert times(batch)[0] >= quiet.complete_to > late  # its place in the stream, not its time
    stream.cancel()


async def test_bad_requests_are_refused(node: tuple[Node1, Any]) -> None:
    for follow in (True, False):
        request = pb.GetFlowsRequest(first=follow, follow=follow)
        request.since.nanos = -1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in node[1](request):
                pass
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
