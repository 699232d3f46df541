# SPDX-License-Identifier: Apache-2.0
"""Peers as a stream of changes, and the names that relay holds certificates against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from cilium_core.proto import peer_pb2 as pb
from cilium_hubble.observer.server import serve
from cilium_hubble.peer.names import peer_name, server_name, target
from cilium_hubble.peer.service import Peers, changes, handler
from cilium_hubble.state.cluster import ClusterNodes


def test_names() -> None:
    assert peer_name("n1", "default") == "n1"
    assert peer_name("n1", "west") == "west/n1"
    assert server_name("ip-10-0-0-1.ec2.internal", "a.b") == (
        "ip-10-0-0-1-ec2-internal.a-b.hubble-grpc.cilium.io"
    )
    assert target("fd00::1", 4244) == "[fd00::1]:4244"


def test_what_went_is_told_before_what_came() -> None:
    old = {"a": pb.ChangeNotification(name="a", address="1"), "b": pb.ChangeNotification(name="b")}
    new = {"a": pb.ChangeNotification(name="a", address="2"), "c": pb.ChangeNotification(name="c")}
    assert [(c.name, c.type) for c in changes(old, new)] == [
        ("b", pb.PEER_DELETED),
        ("a", pb.PEER_UPDATED),
        ("c", pb.PEER_ADDED),
    ]
    assert changes(new, new) == []


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[tuple[ClusterNodes, Any]]:
    nodes = ClusterNodes()
    path = tmp_path / "hubble.sock"
    served = handler(Peers(nodes, lambda: "kubernetes", 4244, tls=True))
    async with serve(path, [served]), grpc.aio.insecure_channel(f"unix:{path}") as channel:
        method: Any = channel.unary_stream(
            "/peer.Peer/Notify",
            request_serializer=pb.NotifyRequest.SerializeToString,
            response_deserializer=pb.ChangeNotification.FromString,
        )
        yield nodes, method


async def test_a_stream_begins_with_all_and_follows(peers: tuple[ClusterNodes, Any]) -> None:
    nodes, notify = peers
    nodes.put("b", "172.30.0.12")
    nodes.put("a", "172.30.0.11")
    nodes.put("new", "")  # no address yet
    stream = notify(pb.NotifyRequest())
    first, second = [await stream.read() for _ in range(2)]
    assert (first.name, first.address, first.type) == (
        "kubernetes/a",
        "172.30.0.11:4244",
        pb.PEER_ADDED,
    )
    assert first.tls.server_name == "a.kubernetes.hubble-grpc.cilium.io"
    assert second.name == "kubernetes/b"
    nodes.put("new", "172.30.0.13")
    assert (await stream.read()).type == pb.PEER_ADDED
    nodes.put("new", "172.30.0.14")
    assert (await stream.read()).type == pb.PEER_UPDATED
    nodes.remove("a")
    gone = await stream.read()
    assert (gone.name, gone.type) == ("kubernetes/a", pb.PEER_DELETED)
    stream.cancel()
