# SPDX-License-Identifier: Apache-2.0
"""Asks a server by TCP: one connection for each connection of a client, made when it is needed.

Questions go out as they come and answers come back in the server's order; ids of our own tell them
apart, whatever ids the client chose. A server may end a connection that was idle for too long just
when a question is on its way: that question is asked once more, on a new connection.
"""

from __future__ import annotations

import asyncio
import socket

from cilium_proxy.dns import answers
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.flows import Flow, NoAnswer
from cilium_proxy.dns.forwarding import fresh_id
from cilium_proxy.dns.framing import framed, read_message
from cilium_proxy.dns.questions import Question
from cilium_proxy.dns.sockets import as_client

CONNECT_SECONDS = 5.0


class Pipeline:
    """A client connection's way to its server."""

    def __init__(self, flow: Flow, timeout: float, counts: Counts) -> None:
        """Wait for each answer for `timeout` seconds. Nothing is connected yet."""
        self._flow = flow
        self._timeout = timeout
        self._counts = counts
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None

    async def ask(self, question: Question) -> bytes:
        """Return the answer. NoAnswer when there is none."""
        try:
            async with asyncio.timeout(self._timeout):
                connection, is_new = await self._connected()
                try:
                    return await connection.ask(question)
                except OSError:
                    if is_new:
                        raise
                connection, _ = await self._connected()
                return await connection.ask(question)
        except TimeoutError:
            raise NoAnswer("timeout", told=False) from None
        except OSError:
            raise NoAnswer("unreachable", told=True) from None

    def close(self) -> None:
        """End the connection to the server."""
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> tuple[_Connection, bool]:
        """Return the connection, and whether it was made for this call."""
        async with self._connecting:
            is_new = self._connection is None or self._connection.ended
            if self._connection is None or is_new:
                self._connection = await self._connect()
            return self._connection, is_new

    async def _connect(self) -> _Connection:
        made = as_client(self._flow.client.address, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, self._flow.server.pair)
                reader, writer = await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise
        return _Connection(reader, writer, self._counts)


class _Connection:
    """One connection to a server, with what it owes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts
    ) -> None:
        self.ended = False
        self._writer = writer
        self._counts = counts
        self._waiting: dict[int, tuple[Question, asyncio.Future[bytes]]] = {}
        self._reading = asyncio.ensure_future(self._read(reader))

    async def ask(self, question: Question) -> bytes:
        number = fresh_id()
        while number in self._waiting:
            number = fresh_id()
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = question, arrived
        try:
            self._writer.write(framed(question.with_id(number)))
            await self._writer.drain()
            return await arrived
        finally:
            del self._waiting[number]

    def close(self) -> None:
        self._reading.cancel()
        self._end()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (wire := await read_message(reader)) is not None:
                self._take(wire)
        finally:
            self._end()

    def _take(self, wire: bytes) -> None:
        number = int.from_bytes(wire[:2], "big")
        question, arrived = self._waiting.get(number, (None, None))
        if question is None or arrived is None or not answers.belongs(question, number, wire):
            self._counts.discarded("stranger's answer")
        elif not arrived.done():
            arrived.set_result(question.restored(wire))

    def _end(self) -> None:
        self.ended = True
        self._writer.close()
        for _, arrived in self._waiting.values():
            if not arrived.done():
                arrived.set_exception(ConnectionResetError("the server ended the connection"))
