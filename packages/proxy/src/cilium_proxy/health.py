# SPDX-License-Identifier: Apache-2.0
"""Two pages for the kubelet: /healthz, the loop turns; /readyz, what a proxy needs is there.

The loop itself answers, so a loop that hangs does not. Nothing of a request but its path is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

_REQUEST_SECONDS = 5.0
_LONGEST = 8192


@contextlib.asynccontextmanager
async def serve(address: tuple[str, int], ready: Callable[[], str]) -> AsyncIterator[None]:
    """Serve the pages; `ready` returns what is missing, or nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, ready()))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, *address, limit=_LONGEST)
    try:
        yield
    finally:
        server.close()


def _response(head: bytes, missing: str) -> bytes:
    path = (head.split(b" ", 2) + [b"", b""])[1]
    if path == b"/healthz":
        status, body = "200 OK", "ok"
    elif path == b"/readyz":
        status, body = ("503 Service Unavailable", missing) if missing else ("200 OK", "ok")
    else:
        status, body = "404 Not Found", "not here"
    text = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    return f"{text}Content-Length: {len(body) + 1}\r\n\r\n{body}\n".encode()
