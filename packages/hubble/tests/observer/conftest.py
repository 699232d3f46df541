# SPDX-License-Identifier: Apache-2.0
"""A server over a unix socket with a store that the test fills, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hubble_fakes import Node1

from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer, handler


@dataclass
class Served:
    """What is served, and how to ask for it."""

    node: Node1
    observer: Observer
    channel: grpc.aio.Channel
    path: Path

    def stream(self, **fields: Any) -> grpc.aio.UnaryStreamCall[Any, pb.GetFlowsResponse]:
        """Start GetFlows."""
        method = self.channel.unary_stream(
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
        return [r.flow.l4.TCP.source_port for r in await self.flows(**fields)]

    async def call(self, name: str, request: Any, response: Any) -> Any:
        """Call a unary method of the Observer."""
        method = self.channel.unary_unary(
            f"/observer.Observer/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await method(request)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    node = Node1(capacity=15)
    observer = Observer(node.ingest, node.names)
    path = tmp_path / "hubble.sock"
    async with (
        serve(path, [handler(observer)]),
        grpc.aio.insecure_channel(f"unix:{path}") as channel,
    ):
        yield Served(node, observer, channel, path)
    assert not path.exists()
