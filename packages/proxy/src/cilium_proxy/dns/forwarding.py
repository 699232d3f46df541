# SPDX-License-Identifier: Apache-2.0
"""Asks a server by UDP: each question from a socket, with a port and under an id of its own.

Who wants to answer in the server's place must guess its address and port, ours (one of 4 500) and
the id, and have the question right; what does not fit is counted and waited past.
"""

from __future__ import annotations

import asyncio
import random
import socket

from cilium_proxy.dns import answers
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.flows import Flow, NoAnswer
from cilium_proxy.dns.questions import Question
from cilium_proxy.dns.sockets import as_client

LARGEST = 65535
STRANGERS = 64  # messages that do not fit, after which an exchange is given up

_random = random.SystemRandom()


def fresh_id() -> int:
    """Return an id that cannot be foreseen."""
    return _random.getrandbits(16)


class DatagramForwarder:
    """Exchanges of datagrams with servers."""

    def __init__(self, timeout: float, counts: Counts) -> None:
        """Wait for an answer for `timeout` seconds."""
        self._timeout = timeout
        self._counts = counts

    async def ask(self, flow: Flow, question: Question) -> bytes:
        """Return the answer. NoAnswer when there is none."""
        try:
            client = as_client(flow.client.address, socket.SOCK_DGRAM)
        except OSError:
            raise NoAnswer("no port", told=True) from None
        with client:
            try:
                client.connect(flow.server.pair)
                return await self._exchange(client, question)
            except TimeoutError:
                raise NoAnswer("timeout", told=False) from None
            except OSError:
                raise NoAnswer("unreachable", told=True) from None

    async def _exchange(self, client: socket.socket, question: Question) -> bytes:
        loop = asyncio.get_running_loop()
        number = fresh_id()
        arrived: asyncio.Future[bytes] = loop.create_future()
        strangers = 0

        def readable() -> None:
            nonlocal strangers
            while not arrived.done():
                try:
                    wire = client.recv(LARGEST)
                except BlockingIOError:
                    return
                except OSError as error:
                    arrived.set_exception(error)
                    return
                if answers.belongs(question, number, wire):
                    arrived.set_result(question.restored(wire))
                    return
                self._counts.discarded("stranger's answer")
                strangers += 1
                if strangers >= STRANGERS:
                    arrived.set_exception(OSError("too many strangers"))

        client.send(question.with_id(number))
        loop.add_reader(client.fileno(), readable)
        expiry = loop.call_later(self._timeout, _expire, arrived)
        try:
            return await arrived
        finally:
            expiry.cancel()
            loop.remove_reader(client.fileno())


def _expire(arrived: asyncio.Future[bytes]) -> None:
    if not arrived.done():
        arrived.set_exception(TimeoutError())
