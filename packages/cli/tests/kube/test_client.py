# SPDX-License-Identifier: Apache-2.0
"""Requests and exec over real sockets."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cilium_cli.errors import ApiError, ExecError, KubeconfigError
from cilium_cli.kube.client import Client, proxy_for, ssl_context
from cilium_cli.kube.exec import exit_code
from cilium_cli.kube.kubeconfig import Access, Credentials
from cilium_cli.status.objects import DaemonSet, Pod

from ..conftest import FakeApi, daemon_set, pod


async def test_lists_are_read_in_pages(api: FakeApi) -> None:
    api.pods = [pod(str(n), "app=x", {"c": "i"}) for n in range(7)]
    api.page = 3
    async with Client(api.access) as client:
        found = await client.list("/api/v1/pods", Pod)
    assert [p.metadata.name for p in found] == [str(n) for n in range(7)]
    assert len(api.requests) == 3
    assert api.requests[0].query["limit"] == "500"


async def test_missing_object_is_404_with_the_servers_words(api: FakeApi) -> None:
    async with Client(api.access) as client:
        with pytest.raises(ApiError, match='daemonsets.apps "x" not found') as caught:
            await client.get("/apis/apps/v1/namespaces/n/daemonsets/x", DaemonSet)
    assert caught.value.status == 404


async def test_a_reply_that_is_no_json(api: FakeApi) -> None:
    async with Client(api.access) as client:
        with pytest.raises(ApiError, match="unexpected reply"):
            await client.get("/api/v1/namespaces/n/pods/p/log", DaemonSet)


async def test_server_that_is_away() -> None:
    async with Client(Access(server="http://127.0.0.1:1")) as client:
        with pytest.raises(ApiError, match=r"cannot reach http://127\.0\.0\.1:1"):
            await client.get("/version", DaemonSet)


async def test_who_we_are_is_sent(api: FakeApi) -> None:
    api.add("daemonsets", daemon_set("cilium", 1))
    path = "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium"
    access = replace(
        api.access,
        credentials=Credentials(token="t"),
        impersonate="jane",
        impersonate_groups=("a", "b"),
    )
    async with Client(access) as client:
        await client.get(path, DaemonSet)
    headers = api.requests[0].headers
    assert headers["Authorization"] == "Bearer t"
    assert headers["Impersonate-User"] == "jane"
    assert headers.getall("Impersonate-Group") == ["a", "b"]


async def test_exec_gives_output_and_code(api: FakeApi) -> None:
    api.replies = {("p", "echo hi"): (0, "hi there"), ("p", "false"): (3, "no")}
    async with Client(api.access) as client:
        good = await client.exec("n", "p", "c", ("echo", "hi"))
        bad = await client.exec("n", "p", "c", ("false",))
    assert (good.stdout, good.stderr, good.code) == (b"hi there", b"", 0)
    assert (bad.stdout, bad.stderr, bad.code) == (b"", b"no", 3)
    assert api.requests[0].headers["Sec-WebSocket-Protocol"].startswith("v5.channel.k8s.io")
    assert api.requests[0].query.getall("command") == ["echo", "hi"]


async def test_exec_that_is_refused(api: FakeApi) -> None:
    api.statuses["/api/v1/namespaces/n/pods/p/exec"] = 403
    async with Client(api.access) as client:
        with pytest.raises(ApiError, match="403"):
            await client.exec("n", "p", "c", ("true",))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (b'{"status":"Failure","message":"no such file"}', "no such file"),
        (b"garbage", "unreadable"),
    ],
)
def test_a_command_that_never_ran(status: bytes, said: str) -> None:
    with pytest.raises(ExecError, match=said):
        exit_code(status)


async def test_exec_stream_that_is_cut() -> None:
    async def cut(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
        await socket.prepare(request)
        await socket.send_bytes(b"\x01half")
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", cut)
    async with TestServer(app) as server:
        access = Access(server=str(server.make_url("")).rstrip("/"))
        async with Client(access) as client:
            with pytest.raises(ExecError, match="closed before"):
                await client.exec("n", "p", "c", ("true",))


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Return a function that makes a self-signed certificate for 127.0.0.1."""

    def make(name: str) -> tuple[Path, Path]:
        key, cert = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
            ],
            check=True,
            capture_output=True,
        )
        return cert, key

    return make


async def test_client_certificates(certificate: Callable[[str], tuple[Path, Path]]) -> None:
    """A real TLS handshake in which the server asks for the client's certificate."""
    (server_cert, server_key), (own_cert, own_key) = certificate("server"), certificate("jane")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(own_cert))
    context.load_cert_chain(server_cert, server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    seen = []

    async def handle(request: web.Request) -> web.Response:
        assert request.transport
        subject = request.transport.get_extra_info("peercert")["subject"]
        seen.append(dict(pair[0] for pair in subject)["commonName"])
        return web.json_response({"metadata": {"name": "x"}})

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    access = Access(
        server=str(server.make_url("")).rstrip("/"),
        ca=server_cert.read_bytes(),
        credentials=Credentials(certificate=own_cert.read_bytes(), key=own_key.read_bytes()),
    )
    async with Client(access) as client:
        assert (await client.get("/x", DaemonSet)).metadata.name == "x"
    async with Client(replace(access, ca=own_cert.read_bytes())) as client:
        with pytest.raises(ApiError, match="certificate"):
            await client.get("/x", DaemonSet)
    await server.close()
    assert seen == ["jane"]


def test_unusable_certificate_names_the_field() -> None:
    with pytest.raises(KubeconfigError, match="client-certificate"):
        ssl_context(Access(server="https://x", credentials=Credentials(certificate=b"x", key=b"y")))


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access(server="https://127.0.0.1:6443"), None),
        (Access(server="https://[::1]:6443"), None),
        (Access(server="https://localhost:6443"), None),
        (Access(server="https://inside.example:6443"), None),
        (Access(server="https://api.other:6443"), "http://proxy:3128"),
        (Access(server="https://api.other:6443", proxy="http://own:1"), "http://own:1"),
    ],
)
def test_proxy(monkeypatch: pytest.MonkeyPatch, access: Access, expected: str | None) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for(access) == expected
