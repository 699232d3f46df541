# SPDX-License-Identifier: Apache-2.0
"""GetFlows in batches, each flow made and serialised once: what relay asks of a node.

A follower also hears how far the stream is complete, so that relay need not wait for the flows of a
quiet node. Event loop only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import numpy as np

from cilium_core.proto import observer_pb2
from cilium_core.proto.batches_pb2 import Batch
from cilium_hubble.observer.service import Context, Observer, Stretch

SERVICE = "cilium.python.batches.v1.FlowBatches"
METHOD = f"/{SERVICE}/GetFlows"
QUIET_SECONDS = 0.02
_NANO = 1_000_000_000


class Batcher:
    """Makes batches of one stream's responses, with times that never go back. Pure."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.told = 0

    def batch(self, stretch: Stretch) -> Batch:
        """Return the batch of some responses, or of none."""
        responses = stretch.responses
        times = np.fromiter(
            (r.time.seconds * _NANO + r.time.nanos for r in responses), "<i8", len(responses)
        )
        if len(times):
            np.maximum.accumulate(np.maximum(times, self.told), out=times)
            self.told = int(times[-1])
        self.told = max(self.told, stretch.complete_to)
        return Batch(
            times=times.tobytes(),
            responses=[response.SerializeToString() for response in responses],
            complete_to=self.told,
        )


def handler(observer: Observer) -> grpc.GenericRpcHandler:
    """Return the service for a server."""

    async def get_flows(
        request: observer_pb2.GetFlowsRequest, context: Context
    ) -> AsyncIterator[Batch]:
        batcher = Batcher()
        async with aclosing(observer.stretches(request, context, QUIET_SECONDS)) as stretches:
            async for stretch in stretches:
                yield batcher.batch(stretch)

    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        get_flows,
        request_deserializer=observer_pb2.GetFlowsRequest.FromString,
        response_serializer=Batch.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"GetFlows": method})
