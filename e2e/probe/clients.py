# SPDX-License-Identifier: Apache-2.0
"""One try of TCP, UDP, HTTP or DNS, each ending in an `Outcome` and never in an exception.

Every try is one coroutine with one socket; any number may run side by side on one asyncio loop.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from e2e.probe import dns
from e2e.probe.outcome import Outcome, address, error_word, split_target


@contextmanager
def _judged(outcome: Outcome) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
        outcome.ok = not outcome.error
    except (OSError, EOFError, TimeoutError, ValueError, UnicodeError) as error:
        outcome.error = error_word(error)
    finally:
        outcome.ms = round((time.monotonic() - begun) * 1000, 3)


async def tcp(target: str, within: float = 2.0, size: int = 32) -> Outcome:
    """Connect, send `size` bytes, and read the same bytes back. A size of 0 only connects."""
    outcome = Outcome("tcp", target)
    host, port = split_target(target)
    payload = random.randbytes(size)
    with _judged(outcome):
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                _note_addresses(outcome, writer)
                writer.write(payload)
                if payload:
                    echoed, _ = await asyncio.gather(reader.readexactly(size), writer.drain())
                    _compare(outcome, payload, echoed)
            finally:
                await _close(writer)
    return outcome


async def udp(target: str, within: float = 2.0, size: int = 32) -> Outcome:
    """Send one datagram of `size` bytes and wait for the same one. Nothing is sent again."""
    outcome = Outcome("udp", target)
    host, port = split_target(target)
    payload = random.randbytes(size)
    with _judged(outcome):
        async with asyncio.timeout(within):
            echoed = await _exchange(outcome, host, port, payload)
            _compare(outcome, payload, echoed)
    return outcome


async def resolve(target: str, within: float = 2.0, family: int = 4) -> Outcome:
    """Ask for the A (family 4) or AAAA (6) records of `name` or `name@server`, once, over UDP."""
    outcome = Outcome("dns", target)
    name, _, server = target.partition("@")
    with _judged(outcome):
        server = server or dns.nameserver()
        ident = random.randrange(65536)
        packet = dns.question(ident, name, dns.A if family == 4 else dns.AAAA)
        async with asyncio.timeout(within):
            reply = dns.answer(await _exchange(outcome, server, 53, packet))
        outcome.detail = {"rcode": reply.rcode, "addresses": list(reply.addresses)}
        if reply.ident != ident:
            outcome.error = "mismatch"
        elif reply.rcode or not reply.addresses:
            outcome.error = f"rcode {reply.rcode}, {len(reply.addresses)} addresses"
    return outcome


async def http(target: str, within: float = 2.0, size: int = 0) -> Outcome:
    """GET an http:// URL on a new connection; ok is any status below 400.

    `detail` has `status` and `body` (decoded when it is JSON, else the first 500 characters).
    With a `size`, a body of that many bytes is sent by POST.
    """
    outcome = Outcome("http", target)
    url = urlsplit(target if "://" in target else f"http://{target}")
    host, port = url.hostname or "", url.port or 80
    with _judged(outcome):
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                _note_addresses(outcome, writer)
                path = (url.path or "/") + (f"?{url.query}" if url.query else "")
                writer.write(request(path, url.netloc, "close", size))
                (status, body), _ = await asyncio.gather(response(reader), writer.drain())
            finally:
                await _close(writer)
        outcome.detail = {"status": status, "body": readable(body)}
        if status >= 400:
            outcome.error = f"status {status}"
    return outcome


Try = Callable[..., Awaitable[Outcome]]
KINDS: dict[str, Try] = {"tcp": tcp, "udp": udp, "http": http, "dns": resolve}


def request(path: str, host: str, connection: str, size: int = 0) -> bytes:
    """An HTTP/1.1 request: GET, or POST with a body of `size` bytes."""
    method = "POST" if size else "GET"
    length = f"Content-Length: {size}\r\n" if size else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n{length}\r\n"
    return head.encode() + random.randbytes(size)


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(status, body) of an HTTP/1.1 response that has a Content-Length or ends by closing."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    fields = {
        name.strip().lower(): value.strip()
        for name, separator, value in (line.partition(":") for line in head[1:])
        if separator
    }
    if "content-length" in fields:
        return status, await reader.readexactly(int(fields["content-length"]))
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return status, await _chunks(reader)
    return status, await reader.read(-1)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


async def _exchange(outcome: Outcome, host: str, port: int, payload: bytes) -> bytes:
    """Send a datagram from a connected socket and return the first one that comes back."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, proto, _, where = found[0]
    with socket.socket(family, kind, proto) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
        outcome.local, outcome.peer = address(sock.getsockname()), address(sock.getpeername())
        await loop.sock_sendall(sock, payload)
        return await loop.sock_recv(sock, 65536)


def _note_addresses(outcome: Outcome, writer: asyncio.StreamWriter) -> None:
    outcome.local = address(writer.get_extra_info("sockname"))
    outcome.peer = address(writer.get_extra_info("peername"))


def _compare(outcome: Outcome, sent: bytes, echoed: bytes) -> None:
    outcome.detail = {"bytes": len(echoed)}
    if sent != echoed:
        outcome.error = "mismatch"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return  # the try has its own outcome; a reset while closing adds nothing to it


def readable(body: bytes) -> Any:
    """A body decoded when it is JSON, else its first 500 characters."""
    try:
        return json.loads(body)
    except ValueError:
        return body[:500].decode("utf-8", "replace")
