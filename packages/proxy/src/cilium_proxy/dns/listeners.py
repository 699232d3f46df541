# SPDX-License-Identifier: Apache-2.0
"""Puts DNS rule sets in force: a port for each, opened, changed in place, closed when it is idle.

The agent leads nobody to a port before it has the report, and nobody any more before it removes
the set: so a port that goes finishes what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from cilium_core.errors import CiliumError
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.dns.datagrams import Datagrams
from cilium_proxy.dns.flows import RulesInForce
from cilium_proxy.dns.streams import Streams
from cilium_proxy.rules.held import Change

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 30.0
UNDERWAY_SECONDS = 0.2  # packets that the kernel led here before it stopped


@dataclass(slots=True)
class Listener:
    """A port in force."""

    rules: RulesInForce
    datagrams: Datagrams
    streams: Streams

    async def idle(self) -> None:
        """Return when nothing is going on."""
        await self.streams.idle()
        await self.datagrams.idle()

    def close(self) -> None:
        """Close both halves."""
        self.datagrams.close()
        self.streams.close()


class Listeners:
    """Takes changes of rule sets, one after the other; reports what became of each."""

    def __init__(
        self,
        datagrams: Callable[[RulesInForce], Datagrams],
        streams: Callable[[RulesInForce], Streams],
        versions: tuple[int, ...],
        report: Callable[[pb.Result], None],
        changed: Callable[[], None],
    ) -> None:
        """Open ports by these two; listen in these IP versions; `changed` hears of each change."""
        self._datagrams = datagrams
        self._streams = streams
        self._versions = versions
        self._report = report
        self._changed = changed
        self._open: dict[int, Listener] = {}
        self._drains: dict[int, asyncio.Task[None]] = {}
        self._changes: asyncio.Queue[Change] = asyncio.Queue()

    def take(self, change: Change) -> None:
        """Put a change in force soon; `run` does it."""
        self._changed()
        self._changes.put_nowait(change)

    async def run(self) -> None:
        """Put changes in force as they come, for ever; close everything at the end."""
        try:
            while True:
                change = await self._changes.get()
                for rule_set in change.changed:
                    await self._put(rule_set)
                for rule_set in change.removed:
                    self._remove(rule_set)
        finally:
            for drain in self._drains.values():
                drain.cancel()
            for listener in self._open.values():
                listener.close()

    async def _put(self, rule_set: pb.RuleSet) -> None:
        try:
            await self._force(rule_set)
            error = ""
        except CiliumError as problem:
            error = str(problem)
        except OSError as problem:
            error = f"port {rule_set.port}: {problem.strerror or problem}"
        if error:
            log.error("a rule set cannot be put in force", port=rule_set.port, reason=error)
        self._report(pb.Result(port=rule_set.port, revision=rule_set.revision, error=error))

    async def _force(self, rule_set: pb.RuleSet) -> None:
        if drain := self._drains.pop(rule_set.port, None):
            drain.cancel()
        if listener := self._open.get(rule_set.port):
            listener.rules.replace(rule_set)
            return
        rules = RulesInForce(rule_set)
        datagrams = self._datagrams(rules)
        streams = self._streams(rules)
        try:
            await streams.start(self._versions)
        except OSError:
            datagrams.close()
            raise
        self._open[rule_set.port] = Listener(rules, datagrams, streams)

    def _remove(self, rule_set: pb.RuleSet) -> None:
        port = rule_set.port
        if port in self._open and port not in self._drains:
            self._drains[port] = asyncio.ensure_future(self._drain(port))
        self._report(pb.Result(port=port, revision=rule_set.revision))

    async def _drain(self, port: int) -> None:
        listener = self._open[port]
        await asyncio.sleep(UNDERWAY_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await listener.idle()
        listener.close()
        del self._open[port], self._drains[port]
