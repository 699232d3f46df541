# SPDX-License-Identifier: Apache-2.0
"""observer.Observer over all nodes: flows merged, the rest added up. Event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import numpy as np

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto.batches_pb2 import Batch
from cilium_hubble.observer import batches
from cilium_hubble.observer.methods import answering
from cilium_hubble.observer.service import SERVICE
from cilium_hubble.relay import limits
from cilium_hubble.relay.merging import Merge
from cilium_hubble.relay.nodes import NodeLost, Pool, RelayNode
from cilium_hubble.relay.sorter import Piece
from cilium_hubble.version import VERSION

VERSION_KEY = "hubble-relay-version"
ASK_SECONDS = 5.0
NAMED = 10  # unavailable nodes that a status names

Context = grpc.aio.ServicerContext[Any, Any]


class Relay:
    """The methods, and counts of what went through."""

    def __init__(
        self, pool: Pool, name: str, limit: int, patience: float, *, encrypted: bool
    ) -> None:
        """`limit` is of a node's flows that wait for others', `patience` how long (s)."""
        self.pool = pool
        self.flows = 0
        self.late = 0
        self.subscribers = 0
        self._name = name
        self._limit = limit
        self._patience = patience
        self._encrypted = encrypted

    async def get_flows(
        self, request: pb.GetFlowsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Stream all nodes' flows, one a message, as the nodes serialised them."""
        async with aclosing(self._merged(request, context)) as merged:
            async for found in merged:
                for response in found.responses if isinstance(found, Piece) else found:
                    yield response

    async def get_batches(
        self, request: pb.GetFlowsRequest, context: Context
    ) -> AsyncIterator[Batch]:
        """Stream all nodes' flows in batches."""
        told = 0
        async with aclosing(self._merged(request, context)) as merged:
            async for found in merged:
                if isinstance(found, Piece):
                    times = np.maximum(found.times, told)
                    np.maximum.accumulate(times, out=times)
                    told = int(times[-1])
                    raw = times.astype("<i8").tobytes()
                    yield Batch(times=raw, responses=found.responses, complete_to=told)
                else:
                    times = np.full(len(found), told, "<i8")
                    yield Batch(times=times.tobytes(), responses=found, complete_to=told)

    async def _merged(
        self, request: pb.GetFlowsRequest, context: Context
    ) -> AsyncGenerator[Piece | list[bytes], None]:
        await context.send_initial_metadata(((VERSION_KEY, VERSION),))
        merge = Merge(self.pool, request, self._name, self._limit, self._patience)
        self.subscribers += 1
        try:
            async with (
                aclosing(merge.pieces()) as pieces,
                aclosing(_limited(pieces, request)) as limited,
            ):
                async for found in limited:
                    if isinstance(found, Piece):
                        self.flows += len(found)
                    yield found
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            self.subscribers -= 1
            self.late += merge.sorter.late

    async def server_status(
        self, _request: pb.ServerStatusRequest, context: Context
    ) -> pb.ServerStatusResponse:
        """Add up what the nodes tell; the uptime is the shortest one."""
        await context.send_initial_metadata(((VERSION_KEY, VERSION),))
        told = [status for _, status in await self._statuses() if status is not None]
        away = [node.name for node in self.pool.unavailable()]
        status = pb.ServerStatusResponse(
            num_flows=sum(one.num_flows for one in told),
            max_flows=sum(one.max_flows for one in told),
            seen_flows=sum(one.seen_flows for one in told),
            flows_rate=sum(one.flows_rate for one in told),
            uptime_ns=min((one.uptime_ns for one in told), default=0),
            version=f"hubble-relay v{VERSION}",
            unavailable_nodes=away[:NAMED],
        )
        status.num_connected_nodes.value = len(self.pool.nodes) - len(away)
        status.num_unavailable_nodes.value = len(away)
        return status

    async def get_nodes(
        self, _request: pb.GetNodesRequest, _context: Context
    ) -> pb.GetNodesResponse:
        """List the nodes with their states, and what those that answer tell."""
        found = []
        for node, status in await self._statuses():
            one = pb.Node(name=node.name, address=node.address, state=node.state)
            one.tls.enabled = self._encrypted
            if self._encrypted:
                one.tls.server_name = node.server_name
            if status is not None:
                one.version, one.uptime_ns = status.version, status.uptime_ns
                one.num_flows, one.max_flows = status.num_flows, status.max_flows
                one.seen_flows = status.seen_flows
            found.append(one)
        return pb.GetNodesResponse(nodes=found)

    async def get_namespaces(
        self, _request: pb.GetNamespacesRequest, _context: Context
    ) -> pb.GetNamespacesResponse:
        """List the namespaces that any node knows, sorted."""
        calls = [
            _ask(node, "GetNamespaces", pb.GetNamespacesRequest(), pb.GetNamespacesResponse)
            for node in self.pool.connected()
        ]
        told = [reply for reply in await asyncio.gather(*calls) if reply is not None]
        known = {(one.cluster, one.namespace) for reply in told for one in reply.namespaces}
        return pb.GetNamespacesResponse(
            namespaces=[pb.Namespace(cluster=c, namespace=n) for c, n in sorted(known)]
        )

    async def _statuses(self) -> list[tuple[RelayNode, pb.ServerStatusResponse | None]]:
        """Ask all that answer, at once; the others have none."""

        async def one(node: RelayNode) -> pb.ServerStatusResponse | None:
            if not node.connected:
                return None
            request = pb.ServerStatusRequest()
            reply: pb.ServerStatusResponse | None = await _ask(
                node, "ServerStatus", request, pb.ServerStatusResponse
            )
            return reply

        nodes = [self.pool.nodes[name] for name in sorted(self.pool.nodes)]
        return list(zip(nodes, await asyncio.gather(*map(one, nodes)), strict=True))


async def _ask(node: RelayNode, name: str, request: Any, response: Any) -> Any:
    """Call a unary method of a node; None when it does not answer."""
    try:
        method = node.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await method(request, timeout=ASK_SECONDS)
    except (grpc.aio.AioRpcError, NodeLost):
        return None


def _limited(
    stream: AsyncGenerator[Piece | list[bytes], None], request: pb.GetFlowsRequest
) -> AsyncGenerator[Piece | list[bytes], None]:
    if not request.number or request.follow or request.number > limits.MOST:
        return stream
    return (limits.first if request.first else limits.last)(stream, request.number)


def handlers(relay: Relay) -> list[grpc.GenericRpcHandler]:
    """Return the services for a server. Methods that it lacks answer UNIMPLEMENTED."""
    methods = answering(relay)
    methods["GetFlows"] = grpc.unary_stream_rpc_method_handler(
        relay.get_flows,
        request_deserializer=pb.GetFlowsRequest.FromString,
        response_serializer=None,  # bytes already
    )
    batched: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        relay.get_batches,
        request_deserializer=pb.GetFlowsRequest.FromString,
        response_serializer=Batch.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(SERVICE, methods),
        grpc.method_handlers_generic_handler(batches.SERVICE, {"GetFlows": batched}),
    ]
