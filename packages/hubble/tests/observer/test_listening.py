# SPDX-License-Identifier: Apache-2.0
"""The TCP port: mutual TLS only, with the certificates that are in the files at the moment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme
from hubble_fakes import Node1

from cilium_core.proto import observer_pb2 as pb
from cilium_hubble import tls
from cilium_hubble.errors import HubbleError
from cilium_hubble.observer.server import listen
from cilium_hubble.observer.service import Observer, handler
from cilium_hubble.tls import CertificateFiles, Material, channel_credentials

NAME = "worker.default.hubble-grpc.cilium.io"


def write(files: CertificateFiles, authority: trustme.CA, trusted: trustme.CA, name: str) -> None:
    made = authority.issue_cert(name)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    files.key.write_bytes(made.private_key_pem.bytes())
    files.authorities.write_bytes(trusted.cert_pem.bytes())


def client_of(authority: trustme.CA) -> Material:
    made = authority.issue_cert("relay.hubble-relay.cilium.io")
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    return Material(chain, made.private_key_pem.bytes(), authority.cert_pem.bytes())


async def nodes_name(port: int, credentials: grpc.ChannelCredentials) -> str:
    options = [("grpc.ssl_target_name_override", NAME)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        method = channel.unary_unary(
            "/observer.Observer/GetNodes",
            request_serializer=pb.GetNodesRequest.SerializeToString,
            response_deserializer=pb.GetNodesResponse.FromString,
        )
        reply: pb.GetNodesResponse = await method(pb.GetNodesRequest(), timeout=5)
        return reply.nodes[0].name


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def listening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[int, CertificateFiles]]:
    monkeypatch.setattr(tls, "WAIT_SECONDS", 0.01)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    node = Node1()
    files = CertificateFiles(*(tmp_path / name for name in ("server.crt", "server.key", "ca.crt")))
    serving = asyncio.create_task(
        listen(("", port), [handler(Observer(node.ingest, node.names))], files)
    )
    yield port, files
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_it_waits_for_certificates_and_follows_them(
    listening: tuple[int, CertificateFiles], authority: trustme.CA
) -> None:
    port, files = listening
    with pytest.raises(grpc.aio.AioRpcError):
        await nodes_name(port, channel_credentials(client_of(authority)))
    write(files, authority, authority, NAME)
    await asyncio.sleep(0.2)
    assert await nodes_name(port, channel_credentials(client_of(authority))) == "default/worker"
    other = trustme.CA()
    write(files, other, other, NAME)
    assert await nodes_name(port, channel_credentials(client_of(other))) == "default/worker"
    with pytest.raises(grpc.aio.AioRpcError):
        await nodes_name(port, channel_credentials(client_of(authority)))
    files.key.write_text("half a key")  # somebody writes: what was there is served
    assert await nodes_name(port, channel_credentials(client_of(other))) == "default/worker"


async def test_clients_without_a_good_certificate_are_refused(
    listening: tuple[int, CertificateFiles], authority: trustme.CA
) -> None:
    port, files = listening
    write(files, authority, authority, NAME)
    await asyncio.sleep(0.2)
    bare = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    foreign = client_of(trustme.CA())._replace(authorities=authority.cert_pem.bytes())
    for credentials in (bare, channel_credentials(foreign)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await nodes_name(port, credentials)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_name_that_does_not_fit_is_refused_by_the_client(
    listening: tuple[int, CertificateFiles], authority: trustme.CA
) -> None:
    port, files = listening
    write(files, authority, authority, "other.default.hubble-grpc.cilium.io")
    await asyncio.sleep(0.2)
    with pytest.raises(grpc.aio.AioRpcError):
        await nodes_name(port, channel_credentials(client_of(authority)))


async def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(HubbleError, match=f"cannot listen at 127.0.0.1:{port}"):
            await listen(("127.0.0.1", port), [], None)
