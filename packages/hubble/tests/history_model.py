# SPDX-License-Identifier: Apache-2.0
"""What a query over a plain list of all rows would show; and a history whose file a test owns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from hubble_fakes import Node1

from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.flows.build import FlowBuilder
from cilium_hubble.history.writer import History, Limits
from cilium_hubble.observer.query import parse
from cilium_hubble.observer.reader import Reader

LIMITS = Limits(64 << 20, 1e10)  # tests' clocks start in 1970


@dataclass(frozen=True)
class Seen:
    """A flow as the list has it; `port` tells flows apart."""

    time: int
    port: int
    dropped: bool


def ask(
    *, first: int = 0, last: int = 0, since: int = 0, until: int = 0, dropped: bool = False
) -> GetFlowsRequest:
    """Return a request; 0 is not asked for."""
    request = GetFlowsRequest(number=first or last, first=bool(first))
    for name, value in (("since", since), ("until", until)):
        if value:
            getattr(request, name).CopyFrom(Timestamp(nanos=value))
    if dropped:
        request.whitelist.add(verdict=[2])
    return request


def shown(flows: list[Seen], request: GetFlowsRequest) -> list[int]:
    """Return the ports that a query over the whole list gives, in order."""
    found = sorted(flows, key=lambda flow: flow.time)  # stable
    found = [flow for flow in found if flow.dropped or not request.whitelist]
    if request.HasField("since"):
        found = [flow for flow in found if flow.time >= request.since.nanos]
    if request.HasField("until"):
        found = [flow for flow in found if flow.time <= request.until.nanos]
    if request.number:
        forwards = request.first or request.HasField("since")
        found = found[: request.number] if forwards else found[-request.number :]
    return [flow.port for flow in found]


async def answers(node: Node1, history: History | None, request: GetFlowsRequest) -> list[Any]:
    """Run a query and return its messages."""
    query = parse(request, node.names)
    reader = Reader(node.store, node.names, query, lambda: 0, None, history)
    return [
        response
        async for chunk, names in reader.chunks()
        for response in FlowBuilder(names).responses(chunk)
    ]


async def ports(node: Node1, history: History | None, request: GetFlowsRequest) -> list[int]:
    """Run a query and return the ports of its flows."""
    found = await answers(node, history, request)
    return [one.flow.l4.TCP.source_port for one in found if one.HasField("flow")]


def made(path: Path, node: Node1, limits: Limits = LIMITS) -> History:
    """Return a history that nobody runs: tests take and write when they say so."""
    return History(path, node.store, node.names, limits)


@asynccontextmanager
async def running(path: Path, node: Node1) -> AsyncIterator[History]:
    """Have a history that takes and writes."""
    history = made(path, node)
    await history.start()
    task = asyncio.create_task(history.run())
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await history.close()
