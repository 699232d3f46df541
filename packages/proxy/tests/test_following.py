# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib

import pytest
from proxy_fakes import FakeAgent, gone, rule_set

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy import following
from cilium_proxy.following import Follower
from cilium_proxy.rules.memory import Memory


class Taking:
    def __init__(self) -> None:
        self.sets: dict[int, pb.RuleSet] = {}
        self.changes = 0
        self._news = asyncio.Event()

    def take(self, change) -> None:
        self.changes += 1
        for entry in change.removed:
            self.sets.pop(entry.port)
        self.sets.update({entry.port: entry for entry in change.changed})
        self._news.set()

    async def until(self, *ports: int) -> None:
        async with asyncio.timeout(10):
            while sorted(self.sets) != sorted(ports):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def socket(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "LAST_RETRY_SECONDS", 0.2)
    return tmp_path / "proxies.sock"


@contextlib.asynccontextmanager
async def running(socket, memory=None):
    follower, taking = Follower(socket, (pb.HTTP, pb.SNI), memory), Taking()
    task = asyncio.ensure_future(follower.run(taking))
    try:
        yield follower, taking
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_agent_hears_the_kinds_and_sends_its_sets(socket):
    agent = FakeAgent(socket, rule_set(10001), rule_set(10002))
    async with agent, running(socket) as (follower, taking):
        await taking.until(10001, 10002)
        assert agent.serves == [[pb.HTTP, pb.SNI]]
        await agent.send(rule_set(10003), gone(10001))
        await taking.until(10002, 10003)
        follower.report(pb.Result(port=10003, revision=1))
        assert (await agent.result(10003, 1)).error == ""


async def test_rules_hold_while_the_agent_is_away_and_only_differences_follow(socket):
    async with running(socket) as (follower, taking):
        async with FakeAgent(socket, rule_set(10001), rule_set(10002)):
            await taking.until(10001, 10002)
            for port in (10001, 10002):
                follower.report(pb.Result(port=port, revision=1))
        await asyncio.sleep(0.3)
        assert sorted(taking.sets) == [10001, 10002]
        assert not follower.connected
        async with FakeAgent(socket, rule_set(10002), rule_set(10003, 2)) as agent:
            await taking.until(10002, 10003)
            await agent.result(10002, 1)  # told again, as this agent has not heard it
            assert [result.port for result in agent.results] == [10002]


async def test_what_happens_while_the_agent_is_away_is_told_to_the_next(socket):
    async with running(socket) as (follower, taking):
        async with FakeAgent(socket, rule_set(10001)):
            await taking.until(10001)
        follower.report(pb.Result(port=10001, revision=1, error="no"))
        async with FakeAgent(socket, rule_set(10001)) as agent:
            assert (await agent.result(10001, 1)).error == "no"


async def test_a_start_without_an_agent_uses_the_sets_of_the_last_run(socket, tmp_path):
    memory = Memory(tmp_path / "rules")
    agent = FakeAgent(socket, rule_set(10001), rule_set(10002))
    async with agent, running(socket, memory) as (_, taking):
        await taking.until(10001, 10002)
        await agent.send(gone(10002))
        await taking.until(10001)
    async with running(socket, memory) as (follower, taking):
        await taking.until(10001)
        assert follower.held.known
        async with FakeAgent(socket, rule_set(10001)):
            await asyncio.sleep(0.3)
            assert taking.changes <= 2
            assert sorted(taking.sets) == [10001]


async def test_nothing_is_taken_before_the_first_agent(socket):
    async with running(socket) as (follower, taking):
        await asyncio.sleep(0.2)
        assert taking.changes == 0
        assert not follower.held.known
