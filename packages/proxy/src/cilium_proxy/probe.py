# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel whether a port is open. Envoy takes a listener a moment before it listens.

A connection is the question: the listener closes what has itself as its destination.
"""

from __future__ import annotations

import asyncio
import time

PATIENCE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.001
_LAST_PAUSE_SECONDS = 0.05
HOSTS = ("127.0.0.1", "::1")


async def listens(port: int, patience: float = PATIENCE_SECONDS) -> str:
    """Wait until the port is open on both loopback addresses; return what keeps it shut, or ''."""
    deadline = time.monotonic() + patience
    for host in HOSTS:
        pause = _FIRST_PAUSE_SECONDS
        while error := await _connect(host, port):
            if time.monotonic() > deadline:
                return f"nothing listens on [{host}]:{port}: {error}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)
    return ""


async def _connect(host: str, port: int) -> str:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return error.strerror or str(error)
    writer.transport.abort()
    return ""
