# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server with what network tests ask for.

`GET /` says who answered and who asked; `GET /bytes?n=&rate=` streams n bytes (sendfile from
memory, or paced at `rate` bytes a second); `POST` to any path reads a body and says its length;
`GET /status/403` answers with that status; `GET /wait?s=1` answers after s seconds; `GET /seen`
tells the last requests of all clients, each as `address method path`. Connections are kept alive.
One coroutine per connection on the caller's loop.
"""

import asyncio
import functools
import json
import os
import random
import re
import socket
import time
from collections import deque
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from e2e.probe.outcome import address

BLOCK = 16 << 20
_PACED_CHUNK = 64 << 10
_SEEN: deque[str] = deque(maxlen=500)


@functools.cache
def _pattern() -> BinaryIO:
    """A memory file of BLOCK bytes that do not compress; always the same ones."""
    file = open(os.memfd_create("probe-pattern"), "w+b", buffering=0)  # noqa: SIM115
    for _ in range(BLOCK >> 20):
        file.write(random.Random(4).randbytes(1 << 20))
    return file


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on one connection until it closes."""
    try:
        while await _serve_request(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return  # the client closed in the middle of a request
    except asyncio.CancelledError:
        return  # the server stops; asyncio's streams would log this as an error
    finally:
        writer.close()


async def _serve_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    words = head[0].split()
    if len(words) != 3:
        await _answer(writer, 400, {"error": f"not a request: {head[0]!r}"}, keep=False)
        return False
    fields = {k.strip().lower(): v.strip() for k, _, v in (f.partition(":") for f in head[1:])}
    length = fields.get("content-length", "0")
    received = await _discard(reader, int(length)) if length.isdigit() else 0
    keep = fields.get("connection", "").lower() != "close"
    url = urlsplit(words[1])
    client = address(writer.get_extra_info("peername"))
    _SEEN.append(f"{client.split()[0]} {words[0]} {words[1]}")
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    if url.path == "/bytes" and query.get("n", "").isdigit():
        await _stream(writer, int(query["n"]), float(query.get("rate", "0")))
        return keep
    if url.path == "/wait":
        await asyncio.sleep(min(float(query.get("s", "1")), 60.0))
    status = re.fullmatch(r"/status/(\d{3})", url.path)
    body: dict[str, object] = {
        "pod": os.environ.get("POD_NAME") or socket.gethostname(),
        "node": os.environ.get("NODE_NAME", ""),
        "client": client,
        "server": address(writer.get_extra_info("sockname")),
        "method": words[0],
        "path": words[1],
        "received": received,
    }
    if url.path == "/seen":
        body["seen"] = list(_SEEN)
    await _answer(writer, int(status[1]) if status else 200, body, keep)
    return keep


async def _discard(reader: asyncio.StreamReader, length: int) -> int:
    left = length
    while left:
        data = await reader.read(min(left, 1 << 18))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
    return length


async def _answer(
    writer: asyncio.StreamWriter, status: int, body: dict[str, object], keep: bool
) -> None:
    text = json.dumps(body).encode()
    writer.write(
        f"HTTP/1.1 {status} Probe\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n".encode()
        + text
    )
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter, total: int, rate: float) -> None:
    writer.write(
        f"HTTP/1.1 200 Probe\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {total}\r\n\r\n".encode()
    )
    if rate:
        await _paced(writer, total, rate)
        return
    await writer.drain()
    loop = asyncio.get_running_loop()
    left = total
    while left:
        part = min(left, BLOCK)
        # sendfile moves the file's position, which concurrent streams share: give offsets.
        await loop.sendfile(writer.transport, _pattern(), 0, part)
        left -= part


async def _paced(writer: asyncio.StreamWriter, total: int, rate: float) -> None:
    chunk = random.Random(4).randbytes(_PACED_CHUNK)
    begun = time.monotonic()
    sent = 0
    while sent < total:
        piece = chunk[: total - sent]
        writer.write(piece)
        await writer.drain()
        sent += len(piece)
        await asyncio.sleep(max(0.0, begun + sent / rate - time.monotonic()))
