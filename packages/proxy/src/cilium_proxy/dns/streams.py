# SPDX-License-Identifier: Apache-2.0
"""Takes questions by TCP on a rule set's port. A client may ask without waiting for answers.

Each connection has a task; it ends when the client does, when the client is silent while nothing
is owed to it, or when it does not read what it asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

from cilium_proxy.dns.flows import Flow, RulesInForce
from cilium_proxy.dns.framing import framed, read_message
from cilium_proxy.dns.gate import Gate
from cilium_proxy.dns.limits import Busy, Room
from cilium_proxy.dns.pipeline import Pipeline
from cilium_proxy.dns.questions import Question
from cilium_proxy.dns.sockets import Place, tcp_listener

IDLE_SECONDS = 10.0
SLOW_SECONDS = 10.0  # to take an answer
PIPELINED = 128  # questions of one connection in hand; then its others wait in the kernel
TCP = 6


class Streams:
    """The TCP half of a listener. Owns its sockets and connections."""

    def __init__(
        self,
        rules: RulesInForce,
        gate: Gate,
        room: Room,
        pipeline: Callable[[Flow], Pipeline],
    ) -> None:
        """Nothing listens before `start`. `room` is for connections."""
        self._rules = rules
        self._gate = gate
        self._room = room
        self._pipeline = pipeline
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def idle(self) -> None:
        """Return when there is no connection."""
        while self._connections:
            await asyncio.wait(self._connections)

    async def start(self, versions: tuple[int, ...]) -> None:
        """Listen. OSError when the port cannot be had."""
        try:
            for version in versions:
                listener = tcp_listener(version, self._rules.port)
                self._servers.append(await asyncio.start_server(self._accepted, sock=listener))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the port and its connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in self._connections:
            task.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            flow = _flow(writer)
            if not flow.led_here:
                self._gate.counts.discarded("not led here")
                return
            async with self._room.place(flow.client.address):
                await _Conversation(self._rules, self._gate, flow, reader, writer).run(
                    self._pipeline(flow)
                )
        except Busy:
            self._gate.counts.discarded("too many connections")
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the port is being closed: nobody is left to be told
        finally:
            self._connections.discard(task)
            writer.close()


class _Conversation:
    """One client connection."""

    def __init__(
        self,
        rules: RulesInForce,
        gate: Gate,
        flow: Flow,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._rules = rules
        self._gate = gate
        self._flow = flow
        self._reader = reader
        self._writer = writer
        self._places = asyncio.Semaphore(PIPELINED)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, pipeline: Pipeline) -> None:
        try:
            while (wire := await self._next()) is not None:
                await self._places.acquire()
                task = asyncio.ensure_future(self._answer(wire, pipeline))
                self._tasks.add(task)
                task.add_done_callback(self._finished)
            if self._tasks:  # it may have closed its half only: what it asked, it gets
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            pipeline.close()

    async def _next(self) -> bytes | None:
        reading = asyncio.ensure_future(read_message(self._reader))
        try:
            while True:
                done, _ = await asyncio.wait((reading,), timeout=IDLE_SECONDS)
                if done:
                    return reading.result()
                if not self._tasks:
                    return None
        finally:
            reading.cancel()

    async def _answer(self, wire: bytes, pipeline: Pipeline) -> None:
        judged = self._gate.judge(self._rules, self._flow, wire)
        if isinstance(judged, Question):
            judged = await self._gate.answer(self._rules, self._flow, judged, pipeline.ask)
        if judged is None:
            return
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                self._writer.write(framed(judged))
                await self._writer.drain()
        except TimeoutError:
            self._gate.counts.discarded("slow client")
            self._writer.transport.abort()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()
        if not task.cancelled():
            with suppress(OSError):  # the client has gone meanwhile
                task.result()


def _flow(writer: asyncio.StreamWriter) -> Flow:
    client, server = (writer.get_extra_info(name) for name in ("peername", "sockname"))
    if client is None or server is None:
        raise ConnectionResetError("the client has gone already")
    return Flow(_place(client), _place(server), TCP)


def _place(pair: tuple[str, int]) -> Place:
    return Place(ip_address(pair[0].partition("%")[0]), pair[1])
