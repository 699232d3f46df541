# SPDX-License-Identifier: Apache-2.0
"""Takes questions by UDP on a rule set's port, whomever they were sent to, answers as that one."""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from cilium_proxy.dns.flows import Flow, RulesInForce
from cilium_proxy.dns.forwarding import DatagramForwarder
from cilium_proxy.dns.gate import Gate
from cilium_proxy.dns.questions import Question
from cilium_proxy.dns.sockets import (
    IP_RECVORIGDSTADDR,
    IPV6_RECVORIGDSTADDR,
    AnswerSender,
    Place,
    udp_listener,
)

BURST = 64  # datagrams read in a row; then others have their turn
_LARGEST = 65535
_ANCILLARY = socket.CMSG_SPACE(28)  # a sockaddr_in6
_ORIGINAL_V4 = struct.Struct("!2xH4s8x")
_ORIGINAL_V6 = struct.Struct("!2xH4x16s4x")


class Datagrams:
    """The UDP half of a listener. Owns its sockets."""

    def __init__(
        self,
        rules: RulesInForce,
        versions: tuple[int, ...],
        gate: Gate,
        forwarder: DatagramForwarder,
        sender: AnswerSender,
    ) -> None:
        """Bind the port and begin to read."""
        self._rules = rules
        self._gate = gate
        self._forwarder = forwarder
        self._sender = sender
        self._buffer = bytearray(_LARGEST)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        try:
            for version in versions:
                self._sockets.append(udp_listener(version, rules.port))
        except OSError:
            self.close()
            raise
        for one in self._sockets:
            self._loop.add_reader(one.fileno(), self._readable, one)

    async def idle(self) -> None:
        """Return when no question is being answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Close the port; who waits gets no answer."""
        for task in self._tasks:
            task.cancel()
        for one in self._sockets:
            self._loop.remove_reader(one.fileno())
            one.close()
        self._sockets.clear()

    def _readable(self, listener: socket.socket) -> None:
        for _ in range(BURST):
            try:
                size, ancillary, _, sender = listener.recvmsg_into([self._buffer], _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                self._gate.counts.discarded("receive error")
                return
            flow = _flow(sender, ancillary)
            if flow is None or not flow.led_here:
                self._gate.counts.discarded("not led here")
                continue
            self._take(flow, bytes(self._buffer[:size]))

    def _take(self, flow: Flow, wire: bytes) -> None:
        judged = self._gate.judge(self._rules, flow, wire)
        if isinstance(judged, Question):
            task = self._loop.create_task(self._answer(flow, judged))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif judged is not None:
            self._send(flow, judged)

    async def _answer(self, flow: Flow, question: Question) -> None:
        forward = functools.partial(self._forwarder.ask, flow)
        reply = await self._gate.answer(self._rules, flow, question, forward)
        if reply is not None:
            self._send(flow, reply)

    def _send(self, flow: Flow, reply: bytes) -> None:
        try:
            self._sender.send(flow.server, flow.client, reply)
        except OSError:
            self._gate.counts.discarded("send error")


def _flow(sender: tuple[str, int], ancillary: list[tuple[int, int, bytes]]) -> Flow | None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_IP, IP_RECVORIGDSTADDR):
            port, raw = _ORIGINAL_V4.unpack(data[:16])
            client = Place(IPv4Address(sender[0]), sender[1])
            return Flow(client, Place(IPv4Address(raw), port))
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR):
            port, raw = _ORIGINAL_V6.unpack(data[:28])
            client = Place(IPv6Address(sender[0].partition("%")[0]), sender[1])
            return Flow(client, Place(IPv6Address(raw), port))
    return None
