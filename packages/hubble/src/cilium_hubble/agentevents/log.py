# SPDX-License-Identifier: Apache-2.0
"""The agent's last events in memory, and the way through them for one request. Event loop only."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from cilium_core.errors import FieldError
from cilium_core.proto.flow_pb2 import AgentEvent


class Entry(NamedTuple):
    """An event with its number and its time (ns since the epoch)."""

    number: int
    time: int
    event: AgentEvent


class Request(Protocol):
    """What GetAgentEvents and GetDebugEvents ask."""

    number: int
    first: bool
    follow: bool
    since: Timestamp
    until: Timestamp

    def HasField(self, name: str) -> bool: ...


def check(request: Request) -> None:
    """FieldError for what cannot be honoured."""
    if request.first and request.follow:
        raise FieldError("first", "cannot be specified with follow")
    for name in ("since", "until"):
        if request.HasField(name) and not 0 <= getattr(request, name).nanos < 1_000_000_000:
            raise FieldError(name, "is not a time: nanos are from 0 to 999999999")


class EventLog:
    """The last `capacity` events."""

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self._held: deque[Entry] = deque(maxlen=capacity)
        self._next = 0
        self._changed = asyncio.Event()

    def add(self, events: Iterable[AgentEvent]) -> None:
        """Note events that happen now and wake those who wait."""
        now, before = time.time_ns(), self._next
        for event in events:
            self._held.append(Entry(self._next, now, event))
            self._next += 1
        if self._next > before:
            self._changed.set()
            self._changed = asyncio.Event()

    async def entries(self, request: Request) -> AsyncGenerator[Entry, None]:
        """Yield what a checked request asks for, oldest first."""
        since = request.since.ToNanoseconds() if request.HasField("since") else None
        until = request.until.ToNanoseconds() if request.HasField("until") else None
        end, found = self._next, list(self._held)
        if since is not None:
            found = [entry for entry in found if entry.time >= since]
        if until is not None:
            found = [entry for entry in found if entry.time <= until]
        if request.number:
            forwards = request.first or (since is not None and not request.follow)
            found = found[: request.number] if forwards else found[-request.number :]
        elif request.follow and since is None:
            found = []
        for entry in found:
            yield entry
        while request.follow:
            while self._next <= end:
                await self._changed.wait()
            new, end = [entry for entry in self._held if entry.number >= end], self._next
            for entry in new:
                if until is not None and entry.time > until:
                    return
                yield entry
