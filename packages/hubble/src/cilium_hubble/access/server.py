# SPDX-License-Identifier: Apache-2.0
"""AccessRecords.Push on a unix socket that only root may use.

A batch is answered when its records can be read by subscribers, so a proxy that waits for answers
is held back by a busy hubble and by nothing else. Records were redacted before they came. Event
loop only.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cilium_core.proto.access_pb2 import Batch, Taken
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.observer.server import STOP_SECONDS, make_way

SERVICE = "cilium.python.access.v1.AccessRecords"


class AccessRecords:
    """The method. `lost` counts records that proxies say they lost."""

    def __init__(self, ingest: Ingest, count: Callable[[Rows], None]) -> None:
        """Store by `ingest`; `count` is told of every batch's rows."""
        self._ingest = ingest
        self._count = count
        self._since = time.time_ns()
        self.lost = 0

    async def push(self, batches: AsyncIterator[Batch], _context: Any) -> AsyncIterator[Taken]:
        """Take batches as they come."""
        async for batch in batches:
            now = time.time_ns()
            if batch.lost:
                self._ingest.lost_requests(batch.lost, self._since, now)
                self.lost += batch.lost
            self._since = now
            self._count(self._ingest.add_requests(batch.records))
            yield Taken(number=batch.number)


def handler(records: AccessRecords) -> grpc.GenericRpcHandler:
    """Return the service for a server."""
    method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        records.push,
        request_deserializer=Batch.FromString,
        response_serializer=Taken.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Push": method})


@contextlib.asynccontextmanager
async def serve(path: Path, records: AccessRecords) -> AsyncIterator[None]:
    """Serve on a unix socket; a stale socket file is replaced."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(records),))
    make_way(path)
    before = os.umask(0o177)  # from its first moment on the socket is root's alone
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(before)
    os.chmod(path, 0o600)
    await server.start()
    try:
        yield
    finally:
        await server.stop(STOP_SECONDS)
        make_way(path)
