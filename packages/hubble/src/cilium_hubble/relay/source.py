# SPDX-License-Identifier: Apache-2.0
"""The flows of one node as pieces: in batches where the node has them, else one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import grpc
import grpc.aio
import numpy as np

from cilium_core.proto.batches_pb2 import Batch, Stamp
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.observer.batches import METHOD as BATCHES
from cilium_hubble.relay.sorter import NOTHING, Piece

FLOWS = "/observer.Observer/GetFlows"
_NANO = 1_000_000_000


class Arrival(NamedTuple):
    """What came, and the time (ns) before which nothing follows."""

    piece: Piece
    complete_to: int


async def arrivals(
    channel: grpc.aio.Channel, request: GetFlowsRequest
) -> AsyncGenerator[Arrival, None]:
    """Yield a node's answers; leaving the generator ends the call. AioRpcError as gRPC has it."""
    try:
        async for arrival in _batches(channel, request):
            yield arrival
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:
            raise
        async for arrival in _single(channel, request):
            yield arrival


async def _batches(
    channel: grpc.aio.Channel, request: GetFlowsRequest
) -> AsyncGenerator[Arrival, None]:
    method: Any = channel.unary_stream(
        BATCHES,
        request_serializer=GetFlowsRequest.SerializeToString,
        response_deserializer=Batch.FromString,
    )
    call = method(request)
    try:
        async for batch in call:
            yield of_batch(batch)
    finally:
        call.cancel()


def of_batch(batch: Batch) -> Arrival:
    """Return a batch as columns. ValueError when its times are not its responses'."""
    times = np.frombuffer(batch.times, "<i8")
    if len(times) != len(batch.responses):
        raise ValueError(f"{len(batch.responses)} responses with {len(times)} times")
    piece = Piece(times, list(batch.responses)) if len(times) else NOTHING
    return Arrival(piece, batch.complete_to)


async def _single(
    channel: grpc.aio.Channel, request: GetFlowsRequest
) -> AsyncGenerator[Arrival, None]:
    method: Any = channel.unary_stream(
        FLOWS, request_serializer=GetFlowsRequest.SerializeToString, response_deserializer=None
    )
    call, last = method(request), 0
    try:
        async for raw in call:
            time = Stamp.FromString(raw).time
            last = max(last, time.seconds * _NANO + time.nanos)
            yield Arrival(Piece(np.array([last], "i8"), [raw]), last)
    finally:
        call.cancel()
