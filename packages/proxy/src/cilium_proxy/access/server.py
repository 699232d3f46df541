# SPDX-License-Identifier: Apache-2.0
"""The access log service that Envoy's workers stream to. Event loop only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from envoy.service.accesslog.v3 import als_pb2

from cilium_core.proto import access_pb2
from cilium_proxy.access.reading import Reader

SERVICE = "envoy.service.accesslog.v3.AccessLogService"


class AccessLog:
    """The service: every message's records go to `keep`."""

    def __init__(self, reader: Reader, keep: Callable[[Iterable[access_pb2.Record]], None]) -> None:
        """Read with one reader: a request's entries all come from one worker."""
        self._reader = reader
        self._keep = keep

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service for a server."""
        method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            self._stream,
            request_deserializer=als_pb2.StreamAccessLogsMessage.FromString,
            response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"StreamAccessLogs": method})

    async def _stream(
        self, messages: AsyncIterator[als_pb2.StreamAccessLogsMessage], _context: Any
    ) -> als_pb2.StreamAccessLogsResponse:
        async for message in messages:
            self._keep(self._reader.read(message))
        return als_pb2.StreamAccessLogsResponse()
