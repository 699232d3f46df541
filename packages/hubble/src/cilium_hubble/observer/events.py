# SPDX-License-Identifier: Apache-2.0
"""GetAgentEvents and GetDebugEvents of the Observer API. Event loop only.

No program of this system writes debug events, so there are none: the second answers as upstream
does then, with an empty stream, or one that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc

from cilium_core.errors import FieldError
from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.agentevents.log import EventLog, check
from cilium_hubble.flows.build import timestamp
from cilium_hubble.observer.methods import serialize
from cilium_hubble.observer.service import Context, refuse, tell_version
from cilium_hubble.state.model import Node


class Events:
    """The methods."""

    def __init__(self, log: EventLog, node: Callable[[], Node]) -> None:
        """Serve a log of this node's agent."""
        self._log = log
        self._node = node

    async def get_agent_events(
        self, request: pb.GetAgentEventsRequest, context: Context
    ) -> AsyncIterator[pb.GetAgentEventsResponse]:
        """Stream what the agent did."""
        await _begin(request, context)
        async with aclosing(self._log.entries(request)) as entries:
            async for entry in entries:
                yield pb.GetAgentEventsResponse(
                    agent_event=entry.event,
                    node_name=self._node().full_name,
                    time=timestamp(entry.time),
                )

    async def get_debug_events(
        self, request: pb.GetDebugEventsRequest, context: Context
    ) -> AsyncIterator[pb.GetDebugEventsResponse]:
        """Stream nothing."""
        await _begin(request, context)
        if request.follow:
            await asyncio.get_running_loop().create_future()
        for none in list[pb.GetDebugEventsResponse]():
            yield none

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the methods for a server, by name."""
        return {
            "GetAgentEvents": grpc.unary_stream_rpc_method_handler(
                self.get_agent_events,
                request_deserializer=pb.GetAgentEventsRequest.FromString,
                response_serializer=serialize,
            ),
            "GetDebugEvents": grpc.unary_stream_rpc_method_handler(
                self.get_debug_events,
                request_deserializer=pb.GetDebugEventsRequest.FromString,
                response_serializer=serialize,
            ),
        }


async def _begin(request: Any, context: Context) -> None:
    try:
        check(request)
    except FieldError as error:
        await refuse(context, error)
    await tell_version(context)
