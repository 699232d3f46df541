# SPDX-License-Identifier: Apache-2.0
"""The whole process: peers told over mutual TLS, nodes that come and go, new certificates."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubble_fakes import trace
from relay_fakes import FakeNode, cluster, free_port, read_flow, read_status

from cilium_core.errors import ConfigError
from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2
from cilium_hubble.peer.names import server_name
from cilium_hubble.relay.daemon import run
from cilium_hubble.relay.settings import RelaySettings, load
from cilium_hubble.tls import CertificateFiles

pytestmark = pytest.mark.timeout(30)
WILDCARD = "*.default.hubble-grpc.cilium.io"


def write(folder: Path, authority: trustme.CA, name: str) -> CertificateFiles:
    folder.mkdir(exist_ok=True)
    made = authority.issue_cert(name)
    files = CertificateFiles(*(folder / name for name in ("tls.crt", "tls.key", "ca.crt")))
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    files.key.write_bytes(made.private_key_pem.bytes())
    files.authorities.write_bytes(authority.cert_pem.bytes())
    return files


def settings(node: FakeNode, files: CertificateFiles) -> RelaySettings:
    return RelaySettings(
        name="relay-1",
        peer_service=node.address,
        listen_address=("127.0.0.1", free_port()),
        health_address=("127.0.0.1", free_port()),
        metrics_address=("127.0.0.1", free_port()),
        retry_timeout=0.2,
        client_files=files,
    )


@asynccontextmanager
async def running(made: RelaySettings) -> AsyncIterator[grpc.aio.Channel]:
    task = asyncio.create_task(run(made))
    host, port = made.listen_address
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        yield channel
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(channel: grpc.aio.Channel, **states: relay_pb2.NodeState) -> pb.GetNodesResponse:
    method = channel.unary_unary(
        "/observer.Observer/GetNodes",
        request_serializer=pb.GetNodesRequest.SerializeToString,
        response_deserializer=pb.GetNodesResponse.FromString,
    )
    async with asyncio.timeout(15):
        while True:
            reply: pb.GetNodesResponse = await method(pb.GetNodesRequest(), wait_for_ready=True)
            if {node.name: node.state for node in reply.nodes} == states:
                return reply
            await asyncio.sleep(0.05)


async def test_a_clusters_life(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = write(tmp_path / "server", authority, WILDCARD)
    client = write(tmp_path / "client", authority, "*.hubble-relay.cilium.io")
    first, second = FakeNode("a"), FakeNode("b")
    second.port = first.port  # all nodes listen at one port, each at its own address
    first.hubble.directory.cluster.put("a", "127.0.0.1")
    await first.start(server)
    made = settings(first, client)
    async with running(made) as channel:
        (node,) = (await until(channel, a=relay_pb2.NODE_CONNECTED)).nodes
        assert node.tls.server_name == server_name("a", "default")
        host, port = made.health_address or ("", 0)
        async with grpc.aio.insecure_channel(f"{host}:{port}") as probe:
            reply = await health_pb2_grpc.HealthStub(probe).Check(health_pb2.HealthCheckRequest())
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        first.hubble.directory.cluster.put("gone", "127.0.0.2")
        states = {"a": relay_pb2.NODE_CONNECTED, "gone": relay_pb2.NODE_UNAVAILABLE}
        await until(channel, **states)
        _, port = made.metrics_address or ("", 0)
        text = await asyncio.to_thread(_scrape, port)
        assert 'hubble_relay_pool_peer_connection_status{status="READY"} 1.0' in text
        stream = channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=pb.GetFlowsRequest.SerializeToString,
            response_deserializer=pb.GetFlowsResponse.FromString,
        )(pb.GetFlowsRequest(follow=True))
        await read_status(stream)
        # Everyone gets certificates of a new authority; the stream goes on.
        other = trustme.CA()
        write(tmp_path / "server", other, WILDCARD)
        write(tmp_path / "client", other, "*.hubble-relay.cilium.io")
        await asyncio.sleep(0.5)
        first.hubble.add(trace(sport=7, time=1 << 61))
        assert await read_flow(stream) == 7
        # A node that went while nobody told is gone once somebody tells again.
        await first.stop()
        states["a"] = relay_pb2.NODE_UNAVAILABLE
        await until(channel, **states)
        first.hubble.directory.cluster.remove("gone")
        await first.start(server)
        await until(channel, a=relay_pb2.NODE_CONNECTED)
        stream.cancel()
    await first.stop()


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        text: str = reply.read().decode()
        return text


async def test_a_node_that_says_nothing_is_noticed() -> None:
    """Its machine is gone: packets go nowhere and no connection is reset."""
    silent = FakeNode("silent")
    hanging = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", silent.port)
        await asyncio.gather(_pump(reader, requests, hanging), _pump(answers, writer, hanging))

    await silent.start()
    proxy = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    async with cluster() as made:
        made.pool.put("silent", f"127.0.0.1:{port}", "")
        await made.until("silent", connected=True)
        stream = made.stream(follow=True)
        await read_status(stream)
        hanging.set()
        lost = await asyncio.wait_for(read_status(stream), 5)
        assert lost.state_change == relay_pb2.NODE_UNAVAILABLE
        stream.cancel()
    proxy.close()
    await silent.stop()


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, hanging: asyncio.Event
) -> None:
    while data := await source.read(65536):
        if not hanging.is_set():
            target.write(data)
            await target.drain()


def test_settings(tmp_path: Path) -> None:
    plain = load(
        tmp_path,
        {"K8S_NODE_NAME": "n"},
        {"disable-client-tls": "true", "disable-server-tls": "true"},
    )
    assert plain == RelaySettings(name="n")
    for key, value in {
        "cluster-name": "west",
        "peer-service": "hubble-peer.kube-system.svc.cluster.local.:443",
        "retry-timeout": "2m",
        "sort-buffer-len-max": "100",
        "sort-buffer-drain-timeout": "500ms",
        "tls-hubble-client-cert-file": "/c/client.crt",
        "tls-hubble-client-key-file": "/c/client.key",
        "tls-hubble-server-ca-files": "/c/hubble-server-ca.crt",
        "disable-server-tls": "true",
    }.items():
        (tmp_path / key).write_text(value)
    read = load(tmp_path, {"K8S_NODE_NAME": "n"}, {})
    assert (read.cluster_name, read.retry_timeout, read.drain_timeout) == ("west", 120.0, 0.5)
    assert (read.sort_buffer, read.server_files) == (100, None)
    assert read.client_files is not None
    assert read.client_files.key == Path("/c/client.key")
    for key, value in {
        "sort-buffer-len-max": "0",
        "retry-timeout": "soon",
        "listen-address": "",
        "disable-server-tls": "false",
        "shoe": "1",
    }.items():
        with pytest.raises(ConfigError):
            load(tmp_path, {}, {key: value})
