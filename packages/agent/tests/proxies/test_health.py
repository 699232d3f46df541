# SPDX-License-Identifier: Apache-2.0
"""What is said of proxies that are dead, hang, or never came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from redirect_fakes import FakeRedirects

from cilium_agent.proxies import health
from cilium_agent.proxies.health import ADMIN, CONTROLLER, DNS, ENVOY, Proxies, ask, watch
from cilium_agent.proxies.rulesets import RuleSets
from cilium_agent.proxies.service import serve
from cilium_agent.state import Outcome
from cilium_core.policy.rules import L7Kind
from cilium_core.proto import proxy_pb2 as pb

from .test_rulesets import AT, OTHER, rules
from .test_service import following, want


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Proxies:
    monkeypatch.setattr(health, "STARTING_SECONDS", 0.0)
    return Proxies("node7", installed=True)


def book(**kinds: L7Kind) -> RuleSets:
    made = RuleSets(FakeRedirects())
    want(made, {AT: rules(kind=kinds.get("at", L7Kind.HTTP))})
    return made


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 10 s")


def test_what_is_dropped_is_said(proxies: Proxies) -> None:
    proxies.followers.update([pb.HTTP, pb.SNI])
    proxies.envoy_error = "Connection refused"
    found = proxies.problems(book())
    assert found[ENVOY] == (
        "Envoy does not answer (Connection refused) on node node7: "
        "what 1 rule set (http) govern is dropped there"
    )
    assert found[CONTROLLER] == ""
    assert found[DNS].endswith("on node node7; no connection is led to it now")
    assert "1 rule set (dns)" in proxies.problems(book(at=L7Kind.DNS))[DNS]


def test_rules_in_force_go_on_without_the_controller(proxies: Proxies) -> None:
    sets = book()
    assert "1 rule set (http)" in proxies.problems(sets)[CONTROLLER]
    (held,) = sets.all()
    sets.acknowledge(held.port, held.revision)
    assert proxies.problems(sets)[CONTROLLER].endswith("no connection is led to it now")


def test_proxies_get_time_to_find_a_new_agent() -> None:
    assert set(Proxies("n", installed=True).problems(None).values()) == {""}


def test_none_installed_is_none_missed() -> None:
    assert Proxies("n", installed=False).problems(book()) == {}


async def test_followers_are_counted_while_they_follow(proxies: Proxies, tmp_path: Path) -> None:
    sets, path = book(), tmp_path / "proxies.sock"
    async with serve(path, sets, proxies.followers):
        async with following(path, pb.HTTP, pb.SNI) as call:
            await call.read()
            assert (proxies.followers[pb.HTTP], proxies.followers[pb.DNS]) == (1, 0)
        await until(lambda: not proxies.followers[pb.HTTP])
    want(sets, {OTHER: None})


async def admin(path: Path, status: int, text: str) -> web.AppRunner:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/ready", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    path.parent.mkdir(parents=True, exist_ok=True)
    await web.UnixSite(runner, str(path)).start()
    return runner


async def test_envoy_dead_hanging_starting_and_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "admin.sock"
    assert await ask(path) == "No such file or directory"
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    server = await asyncio.start_unix_server(lambda _r, _w: asyncio.sleep(1), path)
    begun = time.monotonic()
    assert await ask(path) == "no answer in 0.2 s"
    assert time.monotonic() - begun < 2
    server.close()
    path.unlink(missing_ok=True)
    runner = await admin(path, 503, "PRE_INITIALIZING")
    assert await ask(path) == "it says PRE_INITIALIZING"
    await runner.cleanup()
    runner = await admin(path, 200, "LIVE")
    assert await ask(path) == ""
    await runner.cleanup()


async def test_death_is_a_failing_controller(proxies: Proxies, tmp_path: Path) -> None:
    proxies.followers.update([pb.HTTP, pb.DNS])
    runner = await admin(tmp_path / ADMIN, 200, "LIVE")
    outcomes: dict[str, Outcome] = {}
    health_task = asyncio.create_task(
        watch(proxies, book(), tmp_path, lambda name: outcomes.setdefault(name, Outcome()))
    )
    await until(lambda: ENVOY in outcomes and bool(outcomes[ENVOY].successes))
    await runner.cleanup()
    await until(lambda: bool(outcomes[ENVOY].consecutive_failures))
    health_task.cancel()
    assert "is dropped there" in outcomes[ENVOY].last_error
    assert outcomes[DNS].failures == 0
