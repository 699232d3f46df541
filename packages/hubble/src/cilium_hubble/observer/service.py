# SPDX-License-Identifier: Apache-2.0
"""observer.Observer as methods over the store.

A request that cannot be honoured is INVALID_ARGUMENT with the field's path. Event loop only.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask

from cilium_core.errors import FieldError
from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_core.proto.flow_pb2 import Flow
from cilium_hubble.flows.build import FlowBuilder
from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.history.writer import History
from cilium_hubble.observer.methods import answering, serialize
from cilium_hubble.observer.query import Query, parse
from cilium_hubble.observer.rate import Rate
from cilium_hubble.observer.reader import Reader
from cilium_hubble.version import VERSION

SERVICE = "observer.Observer"
VERSION_KEY = "hubble-server-version"
NAMESPACE_SECONDS = 3600.0
_NANO = 1_000_000_000

Context = grpc.aio.ServicerContext[Any, Any]


class Stretch(NamedTuple):
    """Some answers, and the time (ns) up to which no more will come."""

    responses: list[pb.GetFlowsResponse]
    complete_to: int


class Observer:
    """The methods. `missed` counts rows that slow subscribers did not get."""

    def __init__(
        self,
        ingest: Ingest,
        names: Names,
        complete_to: Callable[[], int] = lambda: 0,
        history: History | None = None,
    ) -> None:
        """Serve what `ingest` stores, older flows out of `history`.

        `complete_to` tells up to which time (ns) the store has all.
        """
        self._complete_to = complete_to
        self._ingest = ingest
        self._store = ingest.store
        self._names = names
        self._history = history
        self._started = time.monotonic_ns()
        self.rate = Rate()
        self.subscribers = 0
        self.missed = 0

    async def get_flows(
        self, request: pb.GetFlowsRequest, context: Context
    ) -> AsyncIterator[pb.GetFlowsResponse]:
        """Stream flows, and events that were lost between them."""
        async with aclosing(self.stretches(request, context)) as stretches:
            async for stretch in stretches:
                for response in stretch.responses:
                    yield response

    async def stretches(
        self, request: pb.GetFlowsRequest, context: Context, quiet: float | None = None
    ) -> AsyncGenerator[Stretch, None]:
        """Yield the answers to a request, some at a time.

        With `quiet` (s) a follower hears after so long that there is nothing.
        """
        try:
            query = parse(request, self._names)
        except FieldError as error:
            await refuse(context, error)
        await tell_version(context)
        reader = Reader(self._store, self._names, query, self._complete_to, quiet, self._history)
        self.subscribers += 1
        try:
            async with aclosing(reader.chunks()) as chunks:
                async for chunk, names in chunks:
                    made = FlowBuilder(names).responses(chunk)
                    responses = [_masked(response, query) for response in made]
                    yield Stretch(responses, reader.complete_to)
        finally:
            self.subscribers -= 1
            self.missed += reader.missed

    async def server_status(
        self, _request: pb.ServerStatusRequest, context: Context
    ) -> pb.ServerStatusResponse:
        """Tell how full the store is and how fast flows come."""
        await tell_version(context)
        node = self._own()
        return pb.ServerStatusResponse(
            num_flows=node.num_flows,
            max_flows=node.max_flows,
            seen_flows=node.seen_flows,
            uptime_ns=node.uptime_ns,
            version=node.version,
            flows_rate=self.rate.per_second(),
        )

    async def get_nodes(
        self, _request: pb.GetNodesRequest, _context: Context
    ) -> pb.GetNodesResponse:
        """Tell of this node."""
        return pb.GetNodesResponse(nodes=[self._own()])

    async def get_namespaces(
        self, _request: pb.GetNamespacesRequest, _context: Context
    ) -> pb.GetNamespacesResponse:
        """List the namespaces with flows in the last hour, sorted."""
        oldest = time.time_ns() - int(NAMESPACE_SECONDS * _NANO)
        seen = self._ingest.namespaces
        for key in [key for key, at in seen.items() if at < oldest]:
            del seen[key]
        return pb.GetNamespacesResponse(
            namespaces=[pb.Namespace(cluster=c, namespace=n) for c, n in sorted(seen)]
        )

    def _own(self) -> pb.Node:
        return pb.Node(
            name=self._names.node().full_name,
            version=f"hubble v{VERSION}",
            state=relay_pb2.NODE_CONNECTED,
            tls=pb.TLS(enabled=False),
            uptime_ns=time.monotonic_ns() - self._started,
            num_flows=self._store.shown,
            max_flows=self._store.capacity,
            seen_flows=self._store.flows,
        )


def handler(
    observer: Observer, more: Mapping[str, grpc.RpcMethodHandler[Any, Any]] | None = None
) -> grpc.GenericRpcHandler:
    """Return the service for a server, with more methods by name.

    Methods that it lacks answer UNIMPLEMENTED.
    """
    methods = {**answering(observer), **(more or {})}
    methods["GetFlows"] = grpc.unary_stream_rpc_method_handler(
        observer.get_flows,
        request_deserializer=pb.GetFlowsRequest.FromString,
        response_serializer=serialize,
    )
    return grpc.method_handlers_generic_handler(SERVICE, methods)


async def tell_version(context: Context) -> None:
    """Send which version answers."""
    await context.send_initial_metadata(((VERSION_KEY, VERSION),))


async def refuse(context: Context, error: FieldError) -> NoReturn:
    """End a call whose request cannot be honoured."""
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    raise AssertionError("abort does not return")


def _masked(response: pb.GetFlowsResponse, query: Query) -> pb.GetFlowsResponse:
    if query.mask is None or not response.HasField("flow"):
        return response
    kept = Flow()
    mask: FieldMask = query.mask
    mask.MergeMessage(response.flow, kept)
    response.flow.CopyFrom(kept)
    return response
