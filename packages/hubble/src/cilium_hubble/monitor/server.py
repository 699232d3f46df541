# SPDX-License-Identifier: Apache-2.0
"""Streams events as lines to whoever connects to the monitor socket.

A client sends its request as one line of JSON and gets one line of JSON back, `{"error": …}` or
what is listened to; then lines, for ever. A client that does not keep up, or asks for more than can
be formatted beside reading the ring, loses events and is told how many. Nothing is formatted while
nobody listens. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from cilium_core.errors import FieldError
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.monitor.lines import Formatter
from cilium_hubble.monitor.request import parse
from cilium_hubble.observer.server import make_way

BUFFER_BYTES = 1 << 20
LINES_AT_ONCE = 1000  # of a batch, so that a client cannot hold up the reading of the ring
REQUEST_SECONDS = 10.0
PAGE = 4096


class Monitor:
    """The clients of this moment. `listening` describes the ring for the client's banner."""

    def __init__(self, link: Callable[[int], str], ring_bytes: Callable[[], int]) -> None:
        """`link` names interfaces, `ring_bytes` tells the ring's size."""
        self._link = link
        self._ring_bytes = ring_bytes
        self._clients: set[_Client] = set()

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._clients)

    def publish(self, events: Rows, lost: dict[int, int]) -> None:
        """Give a batch to all clients; does not wait for any."""
        for client in self._clients:
            client.take(events, lost)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its end."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = parse(await reader.readline())
        except (FieldError, TimeoutError, ValueError) as error:
            _send(writer, json.dumps({"error": str(error) or "no request came"}))
            await _end(writer)
            return
        pages = self._ring_bytes() // PAGE
        head = {"cpus": os.cpu_count(), "pages": pages, "page_size": PAGE}
        _send(writer, json.dumps(head))
        client = _Client(Formatter(request, self._link), writer)
        self._clients.add(client)
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            self._clients.discard(client)
            await _end(writer)


class _Client:
    """One listener. Lines that do not fit into its buffer are counted, not kept."""

    def __init__(self, formatter: Formatter, writer: asyncio.StreamWriter) -> None:
        self._formatter = formatter
        self._writer = writer
        self._dropped = 0

    def take(self, events: Rows, lost: dict[int, int]) -> None:
        chosen = self._formatter.choose(events)
        if self._writer.transport.get_write_buffer_size() > BUFFER_BYTES:
            self._dropped += len(chosen) + sum(lost.values())
            return
        lines = [self._formatter.lost(cpu, count) for cpu, count in lost.items()]
        if self._dropped:
            lines.append(self._formatter.lost(0, self._dropped))
            self._dropped = 0
        lines += self._formatter.lines(chosen[:LINES_AT_ONCE])
        self._dropped += len(chosen[LINES_AT_ONCE:])
        if lines:
            _send(self._writer, "\n".join(lines))


def _send(writer: asyncio.StreamWriter, text: str) -> None:
    if not writer.is_closing():
        writer.write(text.encode() + b"\n")


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serve(path: Path, monitor: Monitor) -> AsyncIterator[None]:
    """Serve on a unix socket that only root may use; a stale socket file is replaced."""
    make_way(path)
    server = await asyncio.start_unix_server(monitor.answer, path)
    os.chmod(path, 0o660)
    try:
        yield
    finally:
        server.close()
        make_way(path)
