# SPDX-License-Identifier: Apache-2.0
"""A gRPC server on a unix socket that only its owner may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

STOP_SECONDS = 0.5


@contextlib.asynccontextmanager
async def serve(path: Path, *handlers: grpc.GenericRpcHandler) -> AsyncIterator[None]:
    """Serve while the context lasts; a socket file that an earlier process left is replaced."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(handlers)
    make_way(path)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(before)
    await server.start()
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        await server.stop(STOP_SECONDS)


def make_way(path: Path) -> None:
    """Have the socket's folder, for its owner alone, and no socket in it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
