# SPDX-License-Identifier: Apache-2.0
"""Simulated nodes in a process of their own: `python -m bench.relay_nodes SOCKET FLOWS BATCH`.

One server stands for any number of nodes: each call gets flows of its own. A finite call streams
FLOWS prepared flows in batches of BATCH; a follower gets batches of BATCH flows made now, every
PERIOD, or nothing but word that nothing came, when the request asks for `number` 1. The responses
are as hubble's builder makes them and serialised once: the node's work is not what is measured.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from bench.hubble import responses
from cilium_core.proto.batches_pb2 import Batch
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.observer.batches import SERVICE

PERIOD = 0.01
QUIET = 0.02
SPACING = 1_000_000  # ns between two flows of a node, on average
_SEED = 11


class Nodes:
    """The method for all nodes."""

    def __init__(self, flows: int, batch: int) -> None:
        self._flows = flows
        self._batch = batch
        self._made = responses(batch)
        self._random = np.random.default_rng(_SEED)

    async def get_flows(self, request: GetFlowsRequest, _context: Any) -> AsyncIterator[bytes]:
        if not request.follow:
            for raw in self._prepared():
                yield raw
            return
        while True:
            quiet = request.number == 1
            await asyncio.sleep(QUIET if quiet else PERIOD)
            now = time.time_ns()
            made = [] if quiet else self._made
            times = np.full(len(made), now, "<i8").tobytes()
            yield Batch(times=times, responses=made, complete_to=now).SerializeToString()

    def _prepared(self) -> list[bytes]:
        """Return a call's batches, serialised; gaps are random, so that nodes interleave."""
        gaps = self._random.integers(0, 2 * SPACING, self._flows)
        times = np.cumsum(gaps).astype("<i8")
        return [
            Batch(
                times=times[at : at + self._batch].tobytes(),
                responses=self._made[: len(times[at : at + self._batch])],
                complete_to=int(times[at : at + self._batch][-1]),
            ).SerializeToString()
            for at in range(0, self._flows, self._batch)
        ]


async def main(socket: str, flows: int, batch: int) -> None:
    """Serve until killed."""
    nodes = Nodes(flows, batch)
    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        nodes.get_flows, request_deserializer=GetFlowsRequest.FromString, response_serializer=None
    )
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(SERVICE, {"GetFlows": method})
    server.add_generic_rpc_handlers((handler,))
    states = health.HealthServicer()
    for name in ("", "observer.Observer"):
        await states.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
