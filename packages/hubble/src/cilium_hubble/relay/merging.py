# SPDX-License-Identifier: Apache-2.0
"""One GetFlows request over all nodes: read each, merge, tell what happens to nodes in between.

A node that has as many flows waiting as `limit` is not read until some went out; gRPC then holds
the node back, and the node tells in the stream what it could not keep. A follower comes back to a
node that returns, from the time of the last flow it had, and takes in nodes that are new. Event
loop only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import grpc
import grpc.aio

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_hubble.relay.nodes import NodeLost, Pool, RelayNode
from cilium_hubble.relay.sorter import Piece, Sorter
from cilium_hubble.relay.status import Statuses

FINITE = 10  # who asks for the past would rather wait longer for a busy node than get it late
GATHER_SECONDS = 0.005  # many nodes with a flow each are one round of sorting
RETRY_SECONDS = 0.5  # after a node's stream broke while the node answers


class Merge:
    """The nodes' answers to one request, and who of them is there."""

    def __init__(
        self, pool: Pool, request: pb.GetFlowsRequest, relay: str, limit: int, patience: float
    ) -> None:
        """`relay` is this process's name in status events."""
        self.sorter = Sorter(patience if request.follow else FINITE * patience)
        self._pool = pool
        self._request = request
        self._limit = limit
        self._began = time.time_ns()
        self._statuses = Statuses(relay)
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: dict[RelayNode, asyncio.Task[None]] = {}
        # By name, so that a node's new address changes nothing: the last flow, who was asked.
        self._last: dict[str, int] = {}
        self._asked: set[str] = set()

    async def pieces(self) -> AsyncGenerator[Piece | list[bytes], None]:
        """Yield flows in order as pieces, and what happened to nodes as lists, until all is told.

        AioRpcError when a node says that the request is wrong.
        """
        watching = asyncio.create_task(self._members()) if self._request.follow else None
        try:
            self._statuses.now(relay_pb2.NODE_CONNECTED, _names(self._pool.connected()))
            self._statuses.now(relay_pb2.NODE_UNAVAILABLE, _names(self._pool.unavailable()))
            for node in self._pool.connected():
                self._begin(node)
            async for found in self._out(watching):
                yield found
        finally:
            tasks = [*self._tasks.values(), *([watching] if watching is not None else [])]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _out(
        self, watching: asyncio.Task[None] | None
    ) -> AsyncGenerator[Piece | list[bytes], None]:
        while True:
            self._wake.clear()
            if told := self._statuses.take():
                yield told
            piece = self.sorter.take(time.monotonic())
            if len(piece):
                self._give_room()
                yield piece
                await asyncio.sleep(GATHER_SECONDS if self._request.follow else 0)
                continue
            self._refused()
            if watching is None and self.sorter.empty and self._done():
                if told := self._statuses.take(everything=True):
                    yield told
                return
            await self._next()

    async def _next(self) -> None:
        """Return when something came, or has waited for long enough."""
        due = [at for at in (self.sorter.due(), self._statuses.due()) if at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    def _done(self) -> bool:
        return all(task.done() for task in self._tasks.values())

    def _refused(self) -> None:
        """Raise what a reader raised: a request that a node does not take, or a mistake of ours."""
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and task.exception() is not None:
                task.result()

    async def _members(self) -> None:
        """Follow the pool: read nodes that are new, tell of those that are gone or away."""
        known = {name: node.connected for name, node in self._pool.nodes.items()}
        while True:
            version = self._pool.version
            now = {name: node.connected for name, node in self._pool.nodes.items()}
            self._statuses.add(relay_pb2.NODE_GONE, known.keys() - now.keys())
            lost = {name for name, there in known.items() if there and now.get(name) is False}
            self._statuses.add(relay_pb2.NODE_UNAVAILABLE, lost)
            back = {name for name, there in now.items() if there and not known.get(name)}
            self._statuses.add(relay_pb2.NODE_CONNECTED, back)
            members = set(self._pool.nodes.values())
            for node in [node for node in self._tasks if node not in members]:
                self._tasks.pop(node).cancel()
            for node in self._pool.connected():
                self._begin(node)
            known = now
            self._wake.set()
            await self._pool.wait(version)

    def _begin(self, node: RelayNode) -> None:
        task = self._tasks.get(node)
        if task is None or (task.done() and self._request.follow):
            self.sorter.open(node)
            self._tasks[node] = asyncio.create_task(self._read(node))

    async def _read(self, node: RelayNode) -> None:
        """Read a node to its end; followers read until it is away, and again after a while."""
        try:
            while True:
                if await self._stream(node) or not self._request.follow:
                    return
                if not node.connected:
                    return  # `_members` begins anew when it is back
                self.sorter.close(node)
                await asyncio.sleep(RETRY_SECONDS)
                self.sorter.open(node)
        finally:
            self.sorter.close(node)
            self._wake.set()

    async def _stream(self, node: RelayNode) -> bool:
        """Read one stream; whether it came to its end."""
        try:
            async with aclosing(node.flows(self._request_to(node))) as coming:
                async for piece, complete_to in coming:
                    self.sorter.put(node, piece, complete_to, time.monotonic())
                    if len(piece):
                        self._last[node.name] = int(piece.times[-1])
                    self._wake.set()
                    while self.sorter.held(node) >= self._limit:
                        await self._room.wait()
            return not self._request.follow
        except NodeLost:
            self._away(node)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                raise
            reason = error.details() or error.code().name
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                node.lost(reason)
                self._away(node)
            else:
                self._statuses.error([node.name], reason)
        except ValueError as error:
            self._statuses.error([node.name], str(error))
        return False

    def _away(self, node: RelayNode) -> None:
        if not self._request.follow:  # else `_members` sees it
            self._statuses.add(relay_pb2.NODE_UNAVAILABLE, [node.name])

    def _request_to(self, node: RelayNode) -> pb.GetFlowsRequest:
        """Return the request; to a node that came later, or came back, for what was missed."""
        request, last = self._request, self._last.get(node.name)
        fresh = node.name in self._statuses.first and node.name not in self._asked
        if not request.follow or (last is None and (fresh or request.HasField("since"))):
            self._asked.add(node.name)
            return request
        resumed = pb.GetFlowsRequest()
        resumed.CopyFrom(request)
        resumed.number = 0
        resumed.since.FromNanoseconds(self._began if last is None else last + 1)
        return resumed

    def _give_room(self) -> None:
        self._room.set()
        self._room = asyncio.Event()


def _names(nodes: Iterable[RelayNode]) -> list[str]:
    return [node.name for node in nodes]
