# SPDX-License-Identifier: Apache-2.0
"""Nodes on ports of this machine, and a relay over them, for tests."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from hubble_fakes import Node1

from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.observer import batches
from cilium_hubble.observer import service as observer_service
from cilium_hubble.observer.server import listen
from cilium_hubble.observer.service import Observer
from cilium_hubble.peer import service as peer_service
from cilium_hubble.peer.service import Peers
from cilium_hubble.relay.dialing import Dialer
from cilium_hubble.relay.nodes import Pool
from cilium_hubble.relay.service import Relay, handlers
from cilium_hubble.state.model import Node


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


class FakeNode:
    """A node with a store; `batched` False stands for one of another make."""

    def __init__(self, name: str, *, batched: bool = True) -> None:
        self.hubble = Node1()
        self.hubble.directory.put_node(Node(name, "default"))
        self.observer = Observer(self.hubble.ingest, self.hubble.names, time.time_ns)
        self.port = free_port()
        self.batched = batched
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, files: Any = None) -> None:
        """Listen."""
        node = self.hubble.directory
        served = [
            observer_service.handler(self.observer),
            peer_service.handler(
                Peers(node.cluster, lambda: node.node.cluster, self.port, tls=files is not None)
            ),
        ]
        if self.batched:
            served.append(batches.handler(self.observer))
        self._task = asyncio.create_task(listen(("127.0.0.1", self.port), served, files))
        await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Be gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None


@dataclass
class Cluster:
    """A relay over nodes, and how to ask it."""

    relay: Relay
    pool: Pool
    channel: grpc.aio.Channel
    port: int
    nodes: dict[str, FakeNode] = field(default_factory=dict)

    async def add(self, name: str, *, batched: bool = True) -> FakeNode:
        """Start a node, tell the relay and wait until it is connected."""
        node = self.nodes[name] = FakeNode(name, batched=batched)
        await node.start()
        self.pool.put(name, node.address, "")
        await self.until(name, connected=True)
        return node

    async def until(self, name: str, *, connected: bool) -> None:
        """Wait for a state."""
        async with asyncio.timeout(10):
            while self.pool.nodes[name].connected is not connected:
                await self.pool.wait(self.pool.version)

    def stream(self, **fields: Any) -> Any:
        """Start GetFlows."""
        method: Any = self.channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=pb.GetFlowsRequest.SerializeToString,
            response_deserializer=pb.GetFlowsResponse.FromString,
        )
        return method(pb.GetFlowsRequest(**fields))

    async def flows(self, **fields: Any) -> list[pb.GetFlowsResponse]:
        """Run GetFlows to its end."""
        return [response async for response in self.stream(**fields)]

    async def ports(self, **fields: Any) -> list[int]:
        """Run GetFlows and return the flows' source ports, by which tests tell them apart."""
        got = await self.flows(**fields)
        return [r.flow.l4.TCP.source_port for r in got if r.HasField("flow")]

    async def call(self, name: str, request: Any, response: Any) -> Any:
        """Call a unary method."""
        method: Any = self.channel.unary_unary(
            f"/observer.Observer/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await method(request)


@asynccontextmanager
async def cluster(patience: float = 1.0, limit: int = 4096) -> AsyncIterator[Cluster]:
    """Run a relay without nodes, in the clear."""
    async with asyncio.TaskGroup() as tasks:
        pool = Pool(Dialer(None), tasks)
        relay = Relay(pool, "relay-1", limit, patience, encrypted=False)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(tuple(handlers(relay)))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            made = Cluster(relay, pool, channel, port)
            try:
                yield made
            finally:
                await server.stop(0)
                for name in list(pool.nodes):
                    pool.remove(name)
                for node in made.nodes.values():
                    await node.stop()


async def read_flow(stream: Any) -> int:
    """Return the source port of the next flow of a stream."""
    while True:
        response: pb.GetFlowsResponse = await stream.read()
        if response.HasField("flow"):
            port: int = response.flow.l4.TCP.source_port
            return port


async def read_status(stream: Any) -> Any:
    """Return the next event on nodes of a stream."""
    while True:
        response: pb.GetFlowsResponse = await stream.read()
        if response.HasField("node_status"):
            return response.node_status
