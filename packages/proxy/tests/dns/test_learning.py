# SPDX-License-Identifier: Apache-2.0
"""Holding answers for the agent: in order, in bounded time, never for nothing, never forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest_asyncio
import uvloop
from dns_neighbours import Agent, until

from cilium_proxy.dns.answers import Answer
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.learning import Learner

POD, OTHER = ip_address("10.0.0.7"), ip_address("10.0.0.8")
ANSWER = Answer(0, (ip_address("192.0.2.1"), ip_address("2001:db8::1")), ttl=60)
NAME = "www.example.com."
HOLD = 0.5  # longer than the default, as the machine may be busy


@pytest_asyncio.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    async with Agent(tmp_path / "agent.sock") as made:
        yield made


@pytest_asyncio.fixture
async def learner(tmp_path: Path) -> AsyncIterator[Learner]:
    made = Learner(tmp_path / "names.sock", HOLD, Counts())
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    await made.close()


def late(learner: Learner, reason: str) -> float:
    name = "cilium_proxy_datapath_update_timeout_total"
    return learner._counts.value(name, reason=reason)


async def test_the_agent_has_said_so_before_an_answer_is_released(
    agent: Agent, learner: Learner
) -> None:
    agent.delay = 0.02
    await learner.learn(POD, NAME, ANSWER)
    [(told, _)] = agent.learned
    assert (told.client, told.name, told.ttl_seconds) == ("10.0.0.7", NAME, 60)
    assert list(told.addresses) == ["192.0.2.1", "2001:db8::1"]
    assert late(learner, "timeout") == 0


async def test_an_answer_without_addresses_is_nobodys_business(learner: Learner) -> None:
    await learner.learn(POD, NAME, Answer(3))
    assert learner.owed == 0


async def test_a_slow_agent_is_not_waited_for(agent: Agent, learner: Learner) -> None:
    agent.delay = 2 * HOLD
    began = time.monotonic()
    await learner.learn(POD, NAME, ANSWER)
    assert HOLD <= time.monotonic() - began < 1.8 * HOLD
    assert late(learner, "timeout") == 1
    await until(lambda: len(agent.learned) == 1)
    await learner.learn(POD, NAME, ANSWER)  # it has confirmed nothing in time: told again
    await until(lambda: len(agent.learned) == 2)


async def test_an_agent_that_comes_back_hears_the_newest_of_each(
    learner: Learner, tmp_path: Path
) -> None:
    newest = Answer(0, (ip_address("192.0.2.9"),), ttl=60)
    over = Answer(0, (ip_address("192.0.2.3"),), ttl=0)
    await learner.learn(POD, NAME, ANSWER)
    for _ in range(50):  # nobody waits for an agent that is known to be away
        began = time.monotonic()
        await learner.learn(OTHER, NAME, over)
        await learner.learn(POD, NAME, newest)
    assert time.monotonic() - began < 0.1
    assert late(learner, "agent away") == 101
    assert learner.owed == 2
    async with Agent(tmp_path / "agent.sock") as agent:
        await until(lambda: bool(agent.learned))
        assert [list(told.addresses) for told, _ in agent.learned] == [["192.0.2.9"]]
        await until(lambda: learner.owed == 0)
        await learner.learn(OTHER, NAME, ANSWER)
        assert len(agent.learned) == 2


async def test_what_was_confirmed_a_moment_ago_is_not_asked_again(
    agent: Agent, learner: Learner
) -> None:
    for _ in range(3):
        await learner.learn(POD, NAME, ANSWER)
    assert (len(agent.learned), learner.repeated) == (1, 2)
    await learner.learn(OTHER, NAME, ANSWER)
    await learner.learn(POD, "other.example.com.", ANSWER)
    await learner.learn(POD, NAME, Answer(0, ANSWER.addresses[:1], ttl=60))
    assert len(agent.learned) == 4
    learner.ask_again()
    await learner.learn(POD, NAME, ANSWER)
    assert len(agent.learned) == 5
    never = Answer(0, ANSWER.addresses, ttl=0)
    learner.ask_again()
    await learner.learn(POD, NAME, never)
    await learner.learn(POD, NAME, never)
    assert len(agent.learned) == 7


async def test_a_caller_that_goes_takes_nothing_back(agent: Agent, learner: Learner) -> None:
    agent.delay = 0.05
    call = asyncio.ensure_future(learner.learn(POD, NAME, ANSWER))
    await asyncio.sleep(0.01)
    call.cancel()
    await until(lambda: len(agent.learned) == 1)


async def test_what_the_kernel_refuses_is_released_and_not_taken_for_confirmed(
    agent: Agent, learner: Learner
) -> None:
    agent.error = "the map is full"
    await learner.learn(POD, NAME, ANSWER)
    assert (late(learner, "agent refused"), learner.owed) == (1, 0)
    agent.error = ""
    await learner.learn(POD, NAME, ANSWER)
    assert (len(agent.learned), learner.repeated) == (2, 0)


async def test_an_agent_that_dies_before_its_reply_hears_again(
    learner: Learner, tmp_path: Path
) -> None:
    async with Agent(tmp_path / "agent.sock") as dying:
        dying.delay = 60
        await until(lambda: learner._transport is not None)
        call = asyncio.ensure_future(learner.learn(POD, NAME, ANSWER))
        await asyncio.sleep(0.05)
    await call
    assert (late(learner, "agent away"), learner.owed) == (1, 1)
    async with Agent(tmp_path / "agent.sock") as agent:
        await until(lambda: len(agent.learned) == 1)


def test_on_the_loop_that_the_proxy_runs_on(tmp_path: Path) -> None:
    async def ask() -> int:
        learner = Learner(tmp_path / "names.sock", HOLD, Counts())
        async with Agent(tmp_path / "agent.sock") as agent:
            running = asyncio.ensure_future(learner.run())
            await learner.learn(POD, NAME, ANSWER)
            running.cancel()
            await learner.close()
            return len(agent.learned)

    assert uvloop.run(ask()) == 1
