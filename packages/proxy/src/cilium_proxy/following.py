# SPDX-License-Identifier: Apache-2.0
"""Follows the agent's rule sets of some kinds, and tells it what became of each.

Lives as long as its process: while the agent is away the sets that it sent last hold, and a new
agent's snapshot changes only what differs. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.rules.held import Change, Held
from cilium_proxy.rules.memory import Memory

log = structlog.get_logger(__name__)

METHOD = "/cilium.python.proxy.v1.Proxies/Follow"
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0

# The agent's own socket: a message's size is what the node's policies are, not an attack.
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", int(FIRST_RETRY_SECONDS * 1000)),
    ("grpc.use_local_subchannel_pool", 1),  # a channel's back-off is not that of the one before
]


class Taker(Protocol):
    """Who puts rule sets in force."""

    def take(self, change: Change) -> None:
        """Begin to put a change in force; the outcome goes to `Follower.report`."""
        ...


class Follower:
    """One proxy's side of `Proxies.Follow`."""

    def __init__(
        self, socket: Path, kinds: Sequence[pb.Kind], memory: Memory | None = None
    ) -> None:
        """Serve these kinds of rules. With `memory`, begin with the sets of the last run."""
        self.connected = False
        self.held = Held(memory.read() if memory else None)
        self._socket = socket
        self._kinds = tuple(kinds)
        self._memory = memory
        self._results: dict[int, pb.Result] = {}  # the last one of each port
        self._unsent: dict[int, pb.Result] = {}
        self._wake = asyncio.Event()

    def report(self, result: pb.Result) -> None:
        """Tell the agent what became of a rule set, now or once there is an agent again."""
        if result.port in self.held.sets:
            self._results[result.port] = result
        self._send(result)

    async def run(self, taker: Taker) -> None:
        """Hand on every change; never returns."""
        if self.held.known:
            taker.take(Change(tuple(self.held.sets.values())))
        delay, told = FIRST_RETRY_SECONDS, False
        while True:
            try:
                await self._stream(taker)
                reason = "the agent ended the stream"
            except grpc.aio.AioRpcError as error:
                reason = error.details() or error.code().name
            if self.connected:
                delay, told, self.connected = FIRST_RETRY_SECONDS, False, False
            if not told:  # once for each time that the agent goes away
                log.warning(
                    "the agent is away; the last rules hold until it is back", reason=reason
                )
                told = True
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _stream(self, taker: Taker) -> None:
        self.held.begin()
        self._unsent.clear()
        async with grpc.aio.insecure_channel(f"unix:{self._socket}", options=_OPTIONS) as channel:
            call = channel.stream_stream(
                METHOD,
                request_serializer=pb.Report.SerializeToString,
                response_deserializer=pb.Update.FromString,
            )()
            await call.write(pb.Report(serves=self._kinds))
            writer = asyncio.ensure_future(self._write(call))
            try:
                async for update in call:
                    self._apply(update, taker)
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._unsent:
                report = pb.Report(results=self._unsent.values())
                self._unsent.clear()
                await call.write(report)

    def _apply(self, update: pb.Update, taker: Taker) -> None:
        change = self.held.fold(update)
        if change is None:
            return
        if update.snapshot:
            log.info("rules are known", sets=len(self.held.sets))
            self.connected = True
        for entry in (*change.changed, *change.removed):
            self._results.pop(entry.port, None)
            self._unsent.pop(entry.port, None)
        if update.snapshot:  # a new agent has not heard what is in force already
            for result in self._results.values():
                self._send(result)
        if self._memory and (change or update.snapshot):
            self._memory.write(self.held.sets.values())
        taker.take(change)

    def _send(self, result: pb.Result) -> None:
        self._unsent[result.port] = result
        self._wake.set()
