# SPDX-License-Identifier: Apache-2.0
"""Port-forward over real sockets: what goes in comes out, and what the pod refuses is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cilium_cli.errors import CliError
from cilium_cli.hubble.forwarding import forward
from cilium_cli.kube.client import Client
from cilium_cli.kube.forward import listen
from cilium_cli.kube.kubeconfig import Access

PODS = "/api/v1/namespaces/kube-system/pods"
RELAY = "/apis/apps/v1/namespaces/kube-system/deployments/hubble-relay"


def relay(name: str, ready: str) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


class Cluster:
    """An API server whose pods echo in capitals."""

    def __init__(self) -> None:
        self.pods = [relay("relay-0", "False"), relay("relay-1", "True")]
        self.deployed = True
        self.refusal = b""
        self.asked: list[str] = []
        self.app = web.Application()
        self.app.router.add_get(PODS, self._list)
        self.app.router.add_get(RELAY, self._deployment)
        self.app.router.add_get(PODS + "/{pod}/portforward", self._forward)

    async def _deployment(self, _request: web.Request) -> web.Response:
        if not self.deployed:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"metadata": {"name": "hubble-relay"}})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "k8s-app=hubble-relay"
        return web.json_response({"items": self.pods})

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append(f"{request.match_info['pod']}:{request.query['ports']}")
        answer = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await answer.prepare(request)
        port = int(request.query["ports"]).to_bytes(2, "little")
        for channel in (b"\0", b"\1"):
            await answer.send_bytes(channel + port)
        if self.refusal:
            await answer.send_bytes(b"\1" + self.refusal)
        async for message in answer:
            assert message.data[0] == 0
            await answer.send_bytes(b"\0" + message.data[1:].upper())
        return answer


@pytest.fixture
async def api() -> AsyncIterator[tuple[Cluster, Access]]:
    made = Cluster()
    server = TestServer(made.app)
    await server.start_server()
    yield made, Access(server=str(server.make_url("")).rstrip("/"))
    await server.close()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.02)


async def test_connections_lead_to_a_ready_relay(api: tuple[Cluster, Access]) -> None:
    cluster, access = api
    port = free_port()
    running = asyncio.create_task(forward(access, "kube-system", port))
    big = b"x" * 300_000
    for sent in (b"hello", big):
        reader, writer = await connect(port)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent.upper()
        writer.close()
    assert cluster.asked == ["relay-1:4245", "relay-1:4245"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_goes_wrong_is_told(
    api: tuple[Cluster, Access], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, access = api
    cluster.refusal = b"nobody listens at 4245"
    port = free_port()
    running = asyncio.create_task(forward(access, "kube-system", port))
    reader, _ = await connect(port)
    assert await reader.read() == b""
    assert "Error: nobody listens at 4245" in capsys.readouterr().err
    running.cancel()
    await asyncio.wait({running})
    cluster.pods = cluster.pods[:1]
    with pytest.raises(CliError, match="is not ready"):
        await forward(access, "kube-system", port)
    cluster.pods = []
    with pytest.raises(CliError, match="^Deployment hubble-relay has no ready pod; "):
        await forward(access, "kube-system", port)
    cluster.deployed = False
    with pytest.raises(CliError, match="hubble.relay.enabled"):
        await forward(access, "kube-system", port)


async def test_a_port_that_is_taken(api: tuple[Cluster, Access]) -> None:
    async with Client(api[1]) as client:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            held.listen()
            port = held.getsockname()[1]
            with pytest.raises(CliError, match=f"cannot listen at 127.0.0.1:{port}"):
                await listen(port, lambda: client.port_forward("n", "p", 1), print)
