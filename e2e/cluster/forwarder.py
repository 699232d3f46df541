# SPDX-License-Identifier: Apache-2.0
"""Carries 127.0.0.1:16443 of the root namespace to the API server in its own namespace.

The listening socket is made in the root namespace; then the process joins the control plane's,
where all its connections start. One event loop, one task per direction of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import sys
from pathlib import Path

from e2e.cluster import processes, spec
from e2e.cluster.shell import spawn

CLONE_NEWNET = 0x40000000


def start(state: Path) -> None:
    """Start the forwarder in the background unless it runs."""
    if processes.recall(state / "forwarder.pid") is not None:
        return
    folder = str(spec.REPOSITORY)
    # `python -m` looks for the package in the current folder, which `spawn` leaves.
    code = f"import sys; sys.path.insert(0, {folder!r}); from e2e.cluster.forwarder import main"
    pid = spawn([sys.executable, "-c", f"{code}; main()"], state / "logs" / "forwarder.log")
    processes.remember(state / "forwarder.pid", pid)


def stop(state: Path) -> None:
    """Stop the forwarder."""
    processes.stop(state / "forwarder.pid")


def main() -> None:
    """Listen, join the control plane's network namespace, forward for ever."""
    listener = socket.create_server(("127.0.0.1", spec.FORWARD_PORT), backlog=128)
    libc = ctypes.CDLL(None, use_errno=True)
    with open(spec.CONTROL_PLANE.netns_path) as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    asyncio.run(_serve(listener))


async def _serve(listener: socket.socket) -> None:
    server = await asyncio.start_server(_forward, sock=listener)
    async with server:
        await server.serve_forever()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection(
            spec.CONTROL_PLANE.ipv4, spec.API_PORT
        )
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    for side in (writer, far_writer):
        side.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
