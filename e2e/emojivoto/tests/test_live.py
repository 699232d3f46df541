# SPDX-License-Identifier: Apache-2.0
"""The four services as processes on loopback, called as a user calls them."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from emojivoto.catalogue import CATALOGUE


@dataclass
class Running:
    """The base addresses of the running services."""

    web: str
    voting_metrics: str
    session: aiohttp.ClientSession
    web_host: str


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(module: str, **env: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """`emojivoto.<module>` with these settings, told to stop at the end."""
    settings = {name: str(value) for name, value in env.items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"from emojivoto.{module} import main; main()",
        env={**os.environ, "PYTHONUNBUFFERED": "1", **settings},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        status = await asyncio.wait_for(child.wait(), 10)
    assert status == 0


async def first_line(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    return (await asyncio.wait_for(child.stdout.readline(), 20)).decode()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    emoji, voting, web, prom1, prom2 = (_free_port() for _ in range(5))
    async with AsyncExitStack() as stack:
        emoji_service = await stack.enter_async_context(
            process("emoji", GRPC_PORT=emoji, PROM_PORT=prom1)
        )
        voting_service = await stack.enter_async_context(
            process("voting", GRPC_PORT=voting, PROM_PORT=prom2, FAILURE_RATE=1)
        )
        web_service = await stack.enter_async_context(
            process(
                "web",
                WEB_PORT=web,
                EMOJISVC_HOST=f"127.0.0.1:{emoji}",
                VOTINGSVC_HOST=f"127.0.0.1:{voting}",
            )
        )
        for child in (emoji_service, voting_service, web_service):
            assert "serving" in await first_line(child)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        host = f"127.0.0.1:{web}"
        yield Running(f"http://{host}", f"http://127.0.0.1:{prom2}/metrics", session, host)


async def test_votes_pages_and_metrics(running: Running) -> None:
    async def get(path: str, **params: str) -> tuple[int, object]:
        async with running.session.get(running.web + path, params=params) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    status, listed = await get("/api/list")
    assert status == 200
    assert listed == [{"shortcode": e.shortcode, "unicode": e.unicode} for e in CATALOGUE]

    for count, choice in ((20, ":joy:"), (9, ":100:"), (1, ":ghost:")):
        for _ in range(count):
            assert await get("/api/vote", choice=choice) == (200, "")

    status, failure = await get("/api/vote", choice=":doughnut:")
    assert status == 500
    assert isinstance(failure, dict)
    assert failure["error"].startswith("UNKNOWN")
    assert (await get("/api/vote"))[0] == 400
    assert (await get("/api/vote", choice=":no_such:"))[0] == 400

    assert await get("/api/leaderboard") == (
        200,
        [
            {"shortcode": ":joy:", "unicode": "\U0001f602", "votes": "20"},
            {"shortcode": ":100:", "unicode": "\U0001f4af", "votes": "9"},
            {"shortcode": ":ghost:", "unicode": "\U0001f47b", "votes": "1"},
        ],
    )
    for path in ("/", "/leaderboard"):
        status, text = await get(path)
        assert status == 200
        assert "<!doctype html>" in str(text)

    async with running.session.get(running.voting_metrics) as response:
        metrics = await response.text()
    assert 'emojivoto_votes_total{emoji=":joy:"} 20.0' in metrics
    assert (
        'grpc_server_handled_total{grpc_code="UNKNOWN",grpc_method="VoteDoughnut",'
        'grpc_service="emojivoto.v1.VotingService"} 1.0'
    ) in metrics


async def test_bot_votes_and_ends(running: Running) -> None:
    async with process("vote_bot", WEB_HOST=running.web_host, REQUEST_RATE=30, TTL="1s") as bot:
        assert bot.stdout is not None
        said = (await asyncio.wait_for(bot.stdout.read(), 20)).decode().splitlines()
        # It ends by itself; to signal a process that just ended reaps it behind asyncio's back.
        await asyncio.wait_for(bot.wait(), 10)
    assert len(said) == 30
    outcomes = {(line.split()[1] == ":doughnut:", line.split()[2]) for line in said}
    assert outcomes <= {(True, "500"), (False, "200")}
    assert (False, "200") in outcomes


async def test_web_reports_a_service_that_is_gone() -> None:
    port = _free_port()
    async with process(
        "web", WEB_PORT=port, EMOJISVC_HOST="127.0.0.1:9", VOTINGSVC_HOST="127.0.0.1:9"
    ) as child:
        await first_line(child)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/api/list") as response,
        ):
            assert response.status == 500
            assert (await response.json())["error"].startswith("UNAVAILABLE")
