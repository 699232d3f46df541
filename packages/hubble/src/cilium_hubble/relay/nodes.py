# SPDX-License-Identifier: Apache-2.0
"""The nodes that relay knows, one connection each, and which of them answer.

A node is asked for its health every few seconds, so that one that vanished without a word is
noticed as well. Event loop only; `changed` is told of every change of members and states.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cilium_core.proto import relay_pb2
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.relay.dialing import Connection, Dialer
from cilium_hubble.relay.source import Arrival, arrivals

log = structlog.get_logger(__name__)

CHECK_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = 2.0
CHECKS_A_SECOND = 100  # of all nodes: many nodes are each asked less often
SERVICE = "observer.Observer"


class NodeLost(Exception):
    """A node stopped answering while it was asked for flows."""


class RelayNode:
    """One node and its connection."""

    def __init__(
        self,
        name: str,
        address: str,
        server_name: str,
        dial: Dialer,
        changed: Callable[[], None],
        pause: Callable[[], float],
    ) -> None:
        """Nothing is dialled before `watch`, which checks after each `pause` (s)."""
        self.name = name
        self.address = address
        self.server_name = server_name
        self.state = relay_pb2.UNKNOWN_NODE_STATE
        self.reason = ""
        self._late = 0  # checks in a row that were not answered in time
        self._dial = dial
        self._changed = changed
        self._pause = pause
        self._connection: Connection | None = None
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the node answered when it was asked last."""
        return self.state == relay_pb2.NODE_CONNECTED

    @property
    def channel(self) -> grpc.aio.Channel:
        """The connection. NodeLost while there is none."""
        if self._connection is None:
            raise NodeLost(f"{self.name}: {self.reason or 'not connected'}")
        return self._connection.channel

    async def watch(self) -> None:
        """Keep the connection and the state right until cancelled."""
        try:
            while True:
                await self._renew()
                await self._check()
                await asyncio.sleep(self._pause())
        finally:
            await self._close()

    async def flows(self, request: GetFlowsRequest) -> AsyncGenerator[Arrival, None]:
        """Yield the node's answers. NodeLost as soon as it is known to be away."""
        queue: asyncio.Queue[Arrival | BaseException | None] = asyncio.Queue(1)
        channel = self.channel

        async def read() -> None:
            try:
                async with aclosing(arrivals(channel, request)) as coming:
                    async for arrival in coming:
                        await queue.put(arrival)
            except (grpc.aio.AioRpcError, ValueError) as error:
                await queue.put(error)
            except asyncio.CancelledError:
                # By the node's watcher; a reader that left does not look any more.
                _put_last(queue, NodeLost(f"{self.name}: {self.reason}"))
                raise
            else:
                await queue.put(None)

        task = asyncio.create_task(read())
        self._reading.add(task)
        try:
            while (arrival := await queue.get()) is not None:
                if isinstance(arrival, BaseException):
                    raise arrival
                yield arrival
        finally:
            self._reading.discard(task)
            task.cancel()
            await asyncio.wait({task})

    async def _renew(self) -> None:
        """Dial anew when there is no connection or the certificates have changed."""
        if self._connection is not None and not self._dial.outdated(self._connection):
            return
        await self._close()
        try:
            self._connection = self._dial.connect(self.address, self.server_name)
        except FileNotFoundError as error:
            self._become(relay_pb2.NODE_UNAVAILABLE, str(error))

    async def _check(self) -> None:
        if self._connection is None:
            return
        try:
            reply = await health_pb2_grpc.HealthStub(self._connection.channel).Check(
                health_pb2.HealthCheckRequest(service=SERVICE),
                timeout=CHECK_TIMEOUT_SECONDS,
                wait_for_ready=False,
            )
        except grpc.aio.AioRpcError as error:
            late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            self._late = self._late + 1 if late else 0
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                self._become(relay_pb2.NODE_CONNECTED, "")
            elif not self.connected or not late or self._late > 1:  # a busy node is late once
                self._become(relay_pb2.NODE_UNAVAILABLE, error.details() or error.code().name)
            return
        self._late = 0
        well = reply.status == health_pb2.HealthCheckResponse.SERVING
        state = relay_pb2.NODE_CONNECTED if well else relay_pb2.NODE_UNAVAILABLE
        self._become(state, "" if well else "the node is not serving")

    def lost(self, reason: str) -> None:
        """Take the word of a stream that broke; the next check may say otherwise."""
        if self.connected:
            self._become(relay_pb2.NODE_UNAVAILABLE, reason)

    def _become(self, state: relay_pb2.NodeState, reason: str) -> None:
        if state != self.state:
            log.info("node", node=self.name, state=relay_pb2.NodeState.Name(state), reason=reason)
            self.state, self.reason = state, reason
            if not self.connected:
                self._cut()
            self._changed()

    def _cut(self) -> None:
        for task in self._reading:
            task.cancel()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._cut()
        if connection is not None:
            await connection.channel.close()


def _put_last(queue: asyncio.Queue[Arrival | BaseException | None], error: NodeLost) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(error)


class Pool:
    """Nodes by name. Their tasks run in a task group of the owner's."""

    def __init__(self, dial: Dialer, tasks: asyncio.TaskGroup) -> None:
        """Start without nodes."""
        self.nodes: dict[str, RelayNode] = {}
        self.version = 0
        self._dial = dial
        self._tasks = tasks
        self._changed = asyncio.Event()
        self._watching: dict[str, asyncio.Task[None]] = {}

    def put(self, name: str, address: str, server_name: str) -> None:
        """Add a node, or connect to it anew when it is reached otherwise than before."""
        known = self.nodes.get(name)
        if known is not None and (known.address, known.server_name) == (address, server_name):
            return
        if known is not None:
            self._watching.pop(name).cancel()
        node = RelayNode(name, address, server_name, self._dial, self._note, self._pause)
        self.nodes[name] = node
        self._watching[name] = self._tasks.create_task(node.watch(), name=f"node {name}")
        self._note()

    def remove(self, name: str) -> None:
        """Take a node away and end its connection."""
        if self.nodes.pop(name, None) is not None:
            self._watching.pop(name).cancel()
            self._note()

    def connected(self) -> list[RelayNode]:
        """Return the nodes that answer, by name."""
        return [self.nodes[name] for name in sorted(self.nodes) if self.nodes[name].connected]

    def unavailable(self) -> list[RelayNode]:
        """Return the nodes that do not, by name."""
        return [self.nodes[name] for name in sorted(self.nodes) if not self.nodes[name].connected]

    async def wait(self, version: int) -> None:
        """Return when a member or a state has changed since this version."""
        while self.version == version:
            await self._changed.wait()

    def _pause(self) -> float:
        return max(CHECK_SECONDS, len(self.nodes) / CHECKS_A_SECOND)

    def _note(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()
