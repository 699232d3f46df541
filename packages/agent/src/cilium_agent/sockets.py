# SPDX-License-Identifier: Apache-2.0
"""gRPC on unix sockets, for the other processes of this node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio

STOP_SECONDS = 0.5


@contextlib.asynccontextmanager
async def serve(
    path: Path,
    handler: grpc.GenericRpcHandler,
    mode: int,
    options: Sequence[tuple[str, int]] = (),
) -> AsyncIterator[None]:
    """Serve on a socket with these permissions; a stale socket file is replaced."""
    server = grpc.aio.server(options=list(options))
    server.add_generic_rpc_handlers((handler,))
    make_way(path)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    os.chmod(path, mode)
    try:
        yield
    finally:
        await server.stop(STOP_SECONDS)


def make_way(path: Path) -> None:
    """Have a socket's folder, and no stale socket there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
