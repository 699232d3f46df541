# SPDX-License-Identifier: Apache-2.0
"""Tells the agent which addresses an answer has, and holds the answer until the kernel has them.

The hold is bounded. What the agent did not take in time is released all the same: nothing was
opened, the kernel goes on to deny, and nothing is lost, as the agent is told once it is back,
for as long as the answer's TTL lasts. The newest answer of a client for a name is the one that
counts.

What the agent has confirmed a moment ago is not asked again: pods ask for the same name many times
a second. It is only a moment, because the client's address may become another pod's, for which the
agent knows nothing yet; and not over a new snapshot or change of the rules.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from cilium_core.addresses import Address
from cilium_core.frames import Frames, TooLong, framed
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.dns.answers import Answer
from cilium_proxy.dns.counts import Counts

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 1.0
BACKLOG = 10_000
FRESH_SECONDS = 1.0
FRESH = 20_000
Key = tuple[Address, str]

_CONFIRMED, _LATE, _AWAY, _REFUSED = "", "timeout", "agent away", "agent refused"


@dataclass(slots=True)
class _Owed:
    """An answer that the agent has not confirmed, until when that matters, and who waits."""

    key: Key
    message: pb.Answer
    until: float
    waiter: asyncio.Future[str] | None = None

    def settle(self, outcome: str) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)


class Learner:
    """The proxy's end of `names.sock`. For one event loop; `run` keeps the connection."""

    def __init__(self, socket: Path, longest: float, counts: Counts) -> None:
        """Hold answers for at most `longest` seconds."""
        self._socket = socket
        self._longest = longest
        self._counts = counts
        self.repeated = 0  # answers that were released on an earlier one's confirmation
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()
        self._sent: OrderedDict[int, _Owed] = OrderedDict()  # by number, not replied to
        self._owed: OrderedDict[Key, _Owed] = OrderedDict()
        self._fresh: dict[tuple[Address, str, frozenset[Address]], float] = {}
        self._away = False  # then nobody waits
        self._number = 0
        self._rules = 0  # counts changes, so that a reply from before one confirms nothing after it

    @property
    def owed(self) -> int:
        """How many answers the agent has yet to hear of."""
        return len(self._owed)

    async def learn(self, client: Address, name: str, answer: Answer) -> None:
        """Return once the agent has said that the kernel knows the addresses, or in bounded time.

        A cancelled caller does not take the message back: the client may have the answer.
        """
        if not answer.addresses:
            return
        began, rules = time.monotonic(), self._rules
        fresh = client, name, frozenset(answer.addresses)
        if self._fresh.get(fresh, 0.0) > began:
            self.repeated += 1
            return
        message = pb.Answer(
            client=str(client),
            name=name,
            addresses=map(str, answer.addresses),
            ttl_seconds=answer.ttl,
        )
        outcome = await self._outcome(_Owed((client, name), message, began + answer.ttl))
        self._counts.learn_seconds.observe(time.monotonic() - began)
        if outcome != _CONFIRMED:
            self._counts.not_released_in_time.labels(outcome).inc()
        elif rules == self._rules:
            if len(self._fresh) >= FRESH:
                self._fresh.clear()
            self._fresh[fresh] = began + min(FRESH_SECONDS, answer.ttl)

    def ask_again(self) -> None:
        """Take nothing for confirmed: the rules, or the agent, are others now."""
        self._fresh.clear()
        self._rules += 1

    async def run(self) -> None:
        """Keep the connection; what is owed is told as soon as there is one. Never returns."""
        loop, delay = asyncio.get_running_loop(), FIRST_RETRY_SECONDS
        while True:
            try:
                await loop.create_unix_connection(lambda: _Stream(self), str(self._socket))
            except OSError as error:
                log.debug("the agent is away", reason=str(error))
                self._gone()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)
                continue
            delay = FIRST_RETRY_SECONDS
            await self._lost.wait()
            self._gone()

    async def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connected(self, transport: asyncio.Transport) -> None:
        """Send what waits for a connection."""
        self._transport, self._away = transport, False
        self._lost.clear()
        waiting, self._sent = list(self._sent.values()), OrderedDict()
        owed, self._owed = list(self._owed.values()), OrderedDict()
        now = time.monotonic()
        for one in (*(one for one in owed if one.until > now), *waiting):
            self._send(one)

    def replied(self, reply: pb.Learned) -> None:
        """Take in what became of an answer."""
        one = self._sent.pop(reply.number, None)
        if one is not None:
            # What the kernel refuses the agent remembers and tries again by itself.
            one.settle(_REFUSED if reply.error else _CONFIRMED)

    def lost(self) -> None:
        """Take in that the connection has ended."""
        self._transport = None
        self._lost.set()

    async def _outcome(self, one: _Owed) -> str:
        self._owed.pop(one.key, None)
        if self._away:
            self._owe(one)
            return _AWAY
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[str] = loop.create_future()
        one.waiter = waiter
        self._send(one)
        timer = loop.call_later(self._longest, one.settle, _LATE)
        try:
            return await waiter
        finally:
            timer.cancel()

    def _send(self, one: _Owed) -> None:
        """Send, or keep for the first connection; when nothing is confirmed the oldest go."""
        self._number += 1
        one.message.number = self._number
        self._sent[self._number] = one
        if self._transport is not None:
            self._transport.write(framed(one.message.SerializeToString()))
        if len(self._sent) > BACKLOG:
            _, oldest = self._sent.popitem(last=False)
            oldest.settle(_LATE)
            self._counts.discarded("owed to the agent")

    def _gone(self) -> None:
        self._away = True
        sent, self._sent = list(self._sent.values()), OrderedDict()
        for one in sent:
            one.settle(_AWAY)
            self._owe(one)

    def _owe(self, one: _Owed) -> None:
        self._owed.pop(one.key, None)
        if len(self._owed) >= BACKLOG:
            self._owed.popitem(last=False)
            self._counts.discarded("owed to the agent")
        self._owed[one.key] = one


class _Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._learner.connected(self._transport)

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)
        try:
            for body in self._frames.take():
                self._learner.replied(pb.Learned.FromString(body))
        except (TooLong, DecodeError) as error:
            log.error("the agent sends what is no reply", error=str(error))
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._learner.lost()
