# SPDX-License-Identifier: Apache-2.0
"""Serves discovery to Envoy: a stream's requests are read as they come, responses when owed.

Two Envoys at a time, old and new, are served alike. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from envoy.service.discovery.v3 import discovery_pb2 as pb

from cilium_proxy.xds.session import Session
from cilium_proxy.xds.table import Table

log = structlog.get_logger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class Discovery:
    """The service; `streams` is how many Envoys are connected."""

    def __init__(self, table: Table) -> None:
        """Serve this table."""
        self.streams = 0
        self._table = table

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service for a server."""
        method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=pb.DeltaDiscoveryRequest.FromString,
            response_serializer=pb.DeltaDiscoveryResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})

    async def _serve(self, requests: AsyncIterator[pb.DeltaDiscoveryRequest], context: Any) -> None:
        session, wake = Session(self._table), asyncio.Event()
        self._table.on_change.append(wake.set)
        self.streams += 1
        log.info("Envoy is here", streams=self.streams)
        writer = asyncio.ensure_future(self._write(session, wake, context))
        try:
            async for request in requests:
                answer = session.receive(request)
                if answer is not None:
                    self._table.answered(answer)
                wake.set()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._table.on_change.remove(wake.set)
            self.streams -= 1
            log.info("Envoy is gone", streams=self.streams)

    async def _write(self, session: Session, wake: asyncio.Event, context: Any) -> None:
        wake.set()
        while True:
            await wake.wait()
            wake.clear()
            for answer in session.has():
                self._table.answered(answer)
            for response in session.responses():
                await context.write(response)
