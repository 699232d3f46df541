# SPDX-License-Identifier: Apache-2.0
"""Which servers and credentials are used, and failover between servers."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from cilium_core.errors import ConfigError
from cilium_core.process.access import SHARED_NAME, Access, Token, in_cluster
from cilium_core.process.session import BASE_URL, open_session


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account whose CA is a self-signed certificate for the servers' shared name."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", str(tmp_path / "key")),
            *("-addext", f"subjectAltName=DNS:{SHARED_NAME}"),
            *("-out", str(tmp_path / "ca.crt")),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "token").write_text("first\n")
    return tmp_path


@pytest.fixture
async def server(account: Path) -> AsyncIterator[int]:
    """An HTTPS server that answers with the Authorization header; its port."""

    async def answer(request: web.Request) -> web.Response:
        seen = request.headers.get("Authorization", "")
        return web.Response(text=seen, status=200 if seen.endswith("second") else 401)

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(account / "ca.crt", account / "key")
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


def test_servers_come_from_the_environment(account: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    one = in_cluster(environment, account)
    assert (one.servers, one.name) == ((("fd00::1", 6443),), "fd00::1")
    more = in_cluster(environment, account, "[fd00::1]:6443,192.0.2.1:443")
    assert more.servers == (("fd00::1", 6443), ("192.0.2.1", 443))
    assert more.name == SHARED_NAME


def test_what_is_missing_is_named(account: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST: is not set"):
        in_cluster({}, account)
    with pytest.raises(ConfigError, match="CILIUM_K8S_API_SERVERS: 'x:y' is not host:port"):
        in_cluster({}, account, "x:y")
    with pytest.raises(ConfigError, match="service account: there is no token"):
        in_cluster({"KUBERNETES_SERVICE_HOST": "192.0.2.1"}, tmp_path / "none")


async def test_a_dead_server_is_passed_over_and_a_new_token_used(
    account: Path, server: int
) -> None:
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
    servers = (("127.0.0.1", 1), ("127.0.0.1", server))
    access = Access(servers, SHARED_NAME, tls, Token(path=account / "token"))
    async with open_session(access) as session:
        async with session.get(f"{BASE_URL}/") as response:
            assert (response.status, await response.text()) == (401, "Bearer first")
        (account / "token").write_text("second\n")
        async with session.get(f"{BASE_URL}/") as response:
            assert (response.status, await response.text()) == (200, "Bearer second")


async def test_a_server_with_another_name_is_refused(account: Path, server: int) -> None:
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
    access = Access((("127.0.0.1", server),), "127.0.0.1", tls, Token(text="x"))
    async with open_session(access) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{BASE_URL}/")
