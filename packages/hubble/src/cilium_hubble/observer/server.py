# SPDX-License-Identifier: Apache-2.0
"""The gRPC server on its unix socket: Observer and the standard health service."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from cilium_hubble.observer.service import SERVICE, Observer, handler

STOP_SECONDS = 0.5


@contextlib.asynccontextmanager
async def serve(path: Path, observer: Observer) -> AsyncIterator[None]:
    """Serve on a unix socket that only root may use; a stale socket file is replaced."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(observer),))
    states = health.HealthServicer()
    for name in ("", SERVICE):
        await states.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    make_way(path)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    os.chmod(path, 0o660)
    try:
        yield
    finally:
        await server.stop(STOP_SECONDS)
        make_way(path)


def make_way(path: Path) -> None:
    """Have the socket's folder, and no socket in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
