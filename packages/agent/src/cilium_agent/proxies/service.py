# SPDX-License-Identifier: Apache-2.0
"""Serves `Proxies` on a unix socket: rule sets out, what became of them in.

A proxy that stops reading holds back its own stream only: what it has not read yet of one port is
replaced by what is newer. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import structlog

from cilium_agent import sockets
from cilium_agent.proxies.encode import KINDS, removal, rule_set
from cilium_agent.proxies.rulesets import Held, RuleSets
from cilium_core.proto import proxy_pb2 as pb

log = structlog.get_logger(__name__)

SERVICE = "cilium.python.proxy.v1.Proxies"
# A peer that hangs does not answer pings, and its stream ends.
PINGS = [
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
]
PIECE = 100  # rule sets in one message


class Follower:
    """One proxy's stream."""

    def __init__(self, book: RuleSets, serves: set[int]) -> None:
        """Follow the rule sets of these kinds."""
        self._book, self._serves = book, serves
        self._pending: dict[int, pb.RuleSet] = {}
        self._news = asyncio.Event()

    async def updates(self) -> AsyncIterator[pb.Update]:
        """Yield the state of the world and then every change, for ever."""
        self._book.listeners.append(self._changed)
        try:
            for update in self._snapshot():
                yield update
            while True:
                await self._news.wait()
                self._news.clear()
                pending, self._pending = list(self._pending.values()), {}
                for start in range(0, len(pending), PIECE):
                    yield pb.Update(rule_sets=pending[start : start + PIECE])
        finally:
            self._book.listeners.remove(self._changed)

    def _snapshot(self) -> list[pb.Update]:
        sets = [rule_set(held) for held in self._book.all() if self._serving(held)]
        pieces = [sets[start : start + PIECE] for start in range(0, len(sets), PIECE)] or [[]]
        updates = [pb.Update(snapshot=True, rule_sets=piece) for piece in pieces]
        updates[-1].complete = True
        return updates

    def _changed(self, held: Held, removed: bool) -> None:
        if self._serving(held):
            self._pending[held.port] = removal(held) if removed else rule_set(held)
            self._news.set()

    def _serving(self, held: Held) -> bool:
        return held.rules.kind is not None and KINDS[held.rules.kind] in self._serves


def handler(book: RuleSets, followers: Counter[int]) -> grpc.GenericRpcHandler:
    """Return the service for a server; `followers` counts streams by the kinds they serve."""

    async def follow(reports: AsyncIterator[pb.Report], _context: Any) -> AsyncIterator[pb.Update]:
        first = await anext(reports, None)
        if first is None:
            return
        log.info("a proxy follows", serves=[pb.Kind.Name(kind) for kind in first.serves])
        follower = Follower(book, set(first.serves))
        reading = asyncio.create_task(_read(book, first, reports))
        followers.update(first.serves)
        try:
            async for update in follower.updates():
                yield update
        finally:
            followers.subtract(first.serves)
            reading.cancel()

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Follow": grpc.stream_stream_rpc_method_handler(
            follow,
            request_deserializer=pb.Report.FromString,
            response_serializer=pb.Update.SerializeToString,
        ),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


async def _read(book: RuleSets, first: pb.Report, reports: AsyncIterator[pb.Report]) -> None:
    _take(book, first)
    async for report in reports:
        _take(book, report)


def _take(book: RuleSets, report: pb.Report) -> None:
    for result in report.results:
        book.acknowledge(result.port, result.revision, result.error)


def serve(
    path: Path, book: RuleSets, followers: Counter[int] | None = None
) -> AbstractAsyncContextManager[None]:
    """Serve on a unix socket that only its owner may use; a stale socket file is replaced."""
    counted = Counter[int]() if followers is None else followers
    return sockets.serve(path, handler(book, counted), 0o600, PINGS)
