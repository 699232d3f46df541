# SPDX-License-Identifier: Apache-2.0
"""The gRPC servers: a unix socket for this node, TCP with mutual TLS for relay.

Both have the same services and the standard health service.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from cilium_hubble.errors import HubbleError
from cilium_hubble.observer.service import SERVICE
from cilium_hubble.tls import CertificateFiles, server_credentials

log = structlog.get_logger(__name__)

STOP_SECONDS = 0.5
_OPTIONS = [("grpc.so_reuseport", 0)]  # two servers at one port is a mistake, not a balance

Handlers = Sequence[grpc.GenericRpcHandler]


async def _server(handlers: Handlers) -> grpc.aio.Server:
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers(tuple(handlers))
    states = health.HealthServicer()
    for name in ("", SERVICE):
        await states.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    return server


@contextlib.asynccontextmanager
async def serve(path: Path, handlers: Handlers) -> AsyncIterator[None]:
    """Serve on a unix socket that only root may use; a stale socket file is replaced."""
    server = await _server(handlers)
    make_way(path)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    os.chmod(path, 0o660)
    try:
        yield
    finally:
        await server.stop(STOP_SECONDS)
        make_way(path)


async def listen(
    address: tuple[str, int], handlers: Handlers, files: CertificateFiles | None
) -> None:
    """Serve on TCP until cancelled, with mutual TLS as soon as the certificates are there.

    Without files in the clear. HubbleError when the port is taken.
    """
    server = await _server(handlers)
    where = target(address)
    try:
        if files is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, server_credentials(files, await files.wait()))
    except RuntimeError as error:
        raise HubbleError(f"cannot listen at {where}: {error}") from error
    await server.start()
    log.info("hubble listens", address=where, tls=files is not None)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop(STOP_SECONDS)


def target(address: tuple[str, int]) -> str:
    """Return a host and a port as gRPC's text; no host is every address of both families."""
    host, port = address
    return f"[{host or '::'}]:{port}" if ":" in host or not host else f"{host}:{port}"


def make_way(path: Path) -> None:
    """Have the socket's folder, and no socket in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
