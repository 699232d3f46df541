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
from typing import Any

import grpc
import grpc.aio
import structlog

from cilium_core.addresses import Address
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.dns.answers import Answer
from cilium_proxy.dns.counts import Counts

log = structlog.get_logger(__name__)

METHOD = "/cilium.python.proxy.v1.Proxies/Learn"
PATIENCE_SECONDS = 5.0  # after which an agent that has taken a call counts as gone
RETRY_SECONDS = 0.2
BACKLOG = 10_000
FRESH_SECONDS = 1.0
FRESH = 20_000
Key = tuple[Address, str]

_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True)
class _Owed:
    """An answer that the agent has not taken, and until when that matters."""

    message: pb.Answer
    until: float


class Learner:
    """The client of `Proxies.Learn`. For one event loop; `run` tells what is owed."""

    def __init__(self, socket: Path, longest: float, counts: Counts) -> None:
        """Hold answers for at most `longest` seconds."""
        self._socket = socket
        self._longest = longest
        self._counts = counts
        self._channel: Any = None
        self._call: Any = None
        self.repeated = 0  # answers that were released on an earlier one's confirmation
        self._calls: set[asyncio.Task[bool]] = set()
        self._owed: OrderedDict[Key, _Owed] = OrderedDict()
        self._fresh: dict[tuple[Address, str, frozenset[Address]], float] = {}
        self._away = False  # then nobody waits, and only what is owed looks for the agent
        self._rules = 0  # counts changes, so that a call from before one confirms nothing after it
        self._wake = asyncio.Event()

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
        call = asyncio.ensure_future(self._tell((client, name), message))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        done, _ = await asyncio.wait((call,), timeout=self._longest)
        self._counts.learn_seconds.observe(time.monotonic() - began)
        if not done:
            self._counts.not_released_in_time.labels("timeout").inc()
        elif not call.result():
            self._counts.not_released_in_time.labels("agent away").inc()
        elif rules == self._rules:
            if len(self._fresh) >= FRESH:
                self._fresh.clear()
            self._fresh[fresh] = began + min(FRESH_SECONDS, answer.ttl)

    def ask_again(self) -> None:
        """Take nothing for confirmed: the rules, or the agent, are others now."""
        self._fresh.clear()
        self._rules += 1

    async def run(self) -> None:
        """Connect, so that the first answer need not; then tell what is owed, for ever."""
        self._connected()
        self._channel.get_state(try_to_connect=True)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._owed:
                await asyncio.sleep(RETRY_SECONDS)
                await self._pay()

    async def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def _pay(self) -> None:
        for key, owed in list(self._owed.items()):
            if self._owed.get(key) is not owed:
                continue
            del self._owed[key]
            if owed.until > time.monotonic() and not await self._call_agent(key, owed):
                return  # it is owed again; the others are too, and the agent is still away

    async def _tell(self, key: Key, message: pb.Answer) -> bool:
        self._owed.pop(key, None)
        owed = _Owed(message, time.monotonic() + message.ttl_seconds)
        if self._away:
            self._owe(key, owed)
            return False
        return await self._call_agent(key, owed)

    async def _call_agent(self, key: Key, owed: _Owed) -> bool:
        try:
            await self._connected()(owed.message, timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            log.debug("the agent has not learned a name", name=key[1], reason=error.details())
            self._away = error.code() == grpc.StatusCode.UNAVAILABLE
            self._owe(key, owed)
            return False
        self._away = False
        return True

    def _owe(self, key: Key, owed: _Owed) -> None:
        if key in self._owed:  # a newer answer has failed too, meanwhile
            return
        if len(self._owed) >= BACKLOG:
            self._owed.popitem(last=False)
            self._counts.discarded("owed to the agent")
        self._owed[key] = owed
        self._wake.set()

    def _connected(self) -> Any:
        if self._call is None:
            self._channel = grpc.aio.insecure_channel(f"unix:{self._socket}", options=_OPTIONS)
            self._call = self._channel.unary_unary(
                METHOD,
                request_serializer=pb.Answer.SerializeToString,
                response_deserializer=pb.Learned.FromString,
            )
        return self._call
