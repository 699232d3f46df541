# SPDX-License-Identifier: Apache-2.0
"""Serves the REST API on its unix socket, and health and metrics over TCP.

The probes and scrapes use aiohttp, which the agent has loaded anyway. Each `serve_…` is an async
context: inside it the socket answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn
from aiohttp import web
from fastapi import FastAPI

Health = Callable[[], tuple[bool, str]]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve_api(app: FastAPI, path: Path) -> AsyncIterator[None]:
    """Serve the API on a unix socket that only root may use; a stale socket file is replaced."""
    listener = _listen(path)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.timeout_graceful_shutdown = 1
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o660)
    listener.listen(128)  # callers wait from now on instead of being refused
    return listener


@contextlib.asynccontextmanager
async def serve_health(address: tuple[str, int], health: Health) -> AsyncIterator[None]:
    """Serve /healthz: 200 or 503 with a line of text."""

    async def answer(_request: web.Request) -> web.Response:
        well, text = health()
        return web.Response(status=200 if well else 503, text=text + "\n")

    async with _serve(address, {"/healthz": answer}):
        yield


@contextlib.asynccontextmanager
async def serve_metrics(
    address: tuple[str, int], render: Callable[[], bytes]
) -> AsyncIterator[None]:
    """Serve /metrics in Prometheus' text format. `render` runs on the loop: a few ms."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async with _serve(address, {"/metrics": answer}):
        yield


@contextlib.asynccontextmanager
async def _serve(
    address: tuple[str, int], routes: dict[str, Callable[[web.Request], object]]
) -> AsyncIterator[None]:
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()
