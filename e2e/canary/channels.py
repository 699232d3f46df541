# SPDX-License-Identifier: Apache-2.0
"""How each kind of flow sends one message: a held socket, or a new connection each time.

Everything runs on one asyncio loop. `send` never waits: what becomes of a message arrives later
at the flow's record.
"""

import asyncio
import struct
import time
from typing import cast

from e2e.canary.flows import Flow
from e2e.canary.record import Record
from e2e.probe import clients
from e2e.probe.outcome import Outcome, error_word, split_target

_FRAME = struct.Struct("!QQ")
_RECONNECT_SECONDS = 0.2
_SPARE_SECONDS = 8.0
DEADLINE = 2.0


class Channel:
    """Sends a flow's messages; replaced records are picked up with the next message."""

    def __init__(self, flow: Flow, record: Record) -> None:
        self.flow = flow
        self.record = record

    async def open(self) -> None:
        """Open what is held; raises OSError when that is impossible."""

    def send(self, number: int) -> None:
        """Send message `number` now."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is held; nothing is counted after this."""


class NewSockets(Channel):
    """A new socket per message: TCP or UDP echo, an HTTP request, or a DNS question.

    DNS and Services are asked as real clients do it: a held socket would stay with the one backend
    that it was given, and be silent for ever once that pod is replaced.
    """

    def __init__(self, flow: Flow, record: Record) -> None:
        super().__init__(flow, record)
        self._open: set[asyncio.Task[None]] = set()

    def send(self, number: int) -> None:
        """Start one try beside those that are still open."""
        self.record.send(number, time.monotonic())
        task = asyncio.create_task(self._try(number))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _try(self, number: int) -> None:
        outcome = await self._attempt()
        now = time.monotonic()
        if outcome.ok:
            self.record.answer(number, now)
        else:
            self.record.lose(number, now, outcome.error)

    async def _attempt(self) -> Outcome:
        # The record loses what is over its deadline; a try waits longer, since a process that had
        # no CPU finds its time over before it reads the answer that is there.
        target, within = self.flow.target, DEADLINE + _SPARE_SECONDS
        match self.flow.kind:
            case "tcp-new" | "shut-tcp":
                return await clients.tcp(target, within, size=16)
            case "service-udp" | "shut-udp":
                return await clients.udp(target, within, size=16)
            case "dns":
                return await clients.resolve(target, within, self.flow.family)
            case _:
                return await clients.http(target, within)


class HeldStream(Channel, asyncio.Protocol):
    """One TCP connection to an echo server, opened again when it breaks."""

    def __init__(self, flow: Flow, record: Record) -> None:
        super().__init__(flow, record)
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._reconnecting: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Connect."""
        where = split_target(self.flow.target)
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().create_connection(lambda: self, *where)

    def send(self, number: int) -> None:
        """Write one frame; without a connection the message is lost at once."""
        now = time.monotonic()
        self.record.send(number, now)
        if self._transport is None:
            self.record.lose(number, now, "no connection")
        else:
            self._transport.write(_FRAME.pack(number, 0))

    def close(self) -> None:
        """Close the connection for good."""
        self._closing = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Echoed frames, whole or in parts."""
        data = self._received + data
        whole = len(data) - len(data) % _FRAME.size
        now = time.monotonic()
        for number, _ in _FRAME.iter_unpack(data[:whole]):
            self.record.answer(number, now)
        self._received = data[whole:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the break and connect again."""
        self._transport = None
        if self._closing:
            return
        self.record.reset(time.monotonic(), error_word(exc) if exc else "closed")
        self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        while self._transport is None:
            await asyncio.sleep(_RECONNECT_SECONDS)
            try:
                await self.open()
            except (OSError, TimeoutError):
                continue  # messages sent meanwhile count as lost: that is the report of it


class HeldDatagrams(Channel, asyncio.DatagramProtocol):
    """One connected UDP socket to an echo server."""

    def __init__(self, flow: Flow, record: Record) -> None:
        super().__init__(flow, record)
        self._transport: asyncio.DatagramTransport | None = None
        self._last = 0

    async def open(self) -> None:
        """Make the socket."""
        where = split_target(self.flow.target)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, remote_addr=where)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket stands."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def send(self, number: int) -> None:
        """Send one datagram."""
        self._last = number
        self.record.send(number, time.monotonic())
        assert self._transport is not None
        self._transport.sendto(_FRAME.pack(number, 0))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """An answer; which message it answers stands in it."""
        if len(data) == _FRAME.size:
            self.record.answer(_FRAME.unpack(data)[0], time.monotonic())

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the last message met it."""
        self.record.lose(self._last, time.monotonic(), error_word(exc))


def channel(flow: Flow, record: Record) -> Channel:
    """The channel that a flow's kind asks for."""
    match flow.kind:
        case "tcp-held":
            return HeldStream(flow, record)
        case "udp":
            return HeldDatagrams(flow, record)
        case _:
            return NewSockets(flow, record)


def deadline(flow: Flow) -> float | None:
    """When an unanswered message of the flow is lost; a stream's never is while it stands."""
    return None if flow.kind == "tcp-held" else DEADLINE
