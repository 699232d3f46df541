# SPDX-License-Identifier: Apache-2.0
"""What keeps names in order by itself: ends, walks, the journal; and what it says of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from names_world import POD, World
from policy_world import policy

from cilium_agent.fqdn import running
from cilium_agent.fqdn.running import Upkeep
from cilium_core.addresses import pack_address
from cilium_core.policy.decide import Verdict

ONE, TWO = "192.0.2.1", "192.0.2.2"


class Outcome:
    def __init__(self) -> None:
        self.said: list[str] = []

    def succeeded(self) -> None:
        self.said.append("")

    def failed(self, error: BaseException) -> None:
        self.said.append(str(error))


class Connections:
    """Stands for the kernel's table: what each of the asked ends is connected to."""

    def __init__(self, *peers: str) -> None:
        self.peers, self.asked = set(peers), 0

    def __call__(self, by: set[bytes]) -> dict[bytes, set[bytes]]:
        self.asked += 1
        return {local: {pack_address(peer) for peer in self.peers} for local in by}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(running, "END_SECONDS", 0.01)
    made = World(tmp_path)
    made.say(*policy({"egress": [{"toFQDNs": [{"matchPattern": "*.test"}]}]}))
    made.start()
    made.learn("a.test.", ONE, ttl=1)
    made.learn("b.test.", TWO, ttl=1)
    yield made
    made.journal.close()


async def upkeep(world: World, connections: Connections, condition: Any, **more: float) -> Outcome:
    """Run until a condition holds."""
    outcome = Outcome()
    pod: Any = SimpleNamespace(endpoint_id=7, ipv4=POD, ipv6=None)
    job = Upkeep(world.names, world.journal, connections, lambda: [pod], **more)
    task = asyncio.ensure_future(job.run(outcome))
    try:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)
                world.now += 1
    finally:
        task.cancel()
    return outcome


async def test_what_is_over_goes_and_what_is_connected_stays(world: World) -> None:
    connections = Connections(ONE)
    world.now += 2
    gone = lambda: world.verdict(TWO) is Verdict.DENY  # noqa: E731
    await upkeep(world, connections, gone, walk_seconds=0.02)
    assert world.verdict(ONE) is Verdict.ALLOW
    assert connections.asked


async def test_nothing_is_walked_for_nobody(world: World) -> None:
    connections = Connections()
    world.names.retain([])
    turns = iter(range(30))
    await upkeep(world, connections, lambda: next(turns) == 20, walk_seconds=0.02)
    assert not connections.asked


async def test_a_refusal_is_told_and_made_up_for(world: World) -> None:
    world.rows.refuse = True
    with pytest.raises(Exception, match="full"):
        world.learn("c.test.", "192.0.2.3")
    turns = iter(range(30))
    outcome = await upkeep(world, Connections(), lambda: next(turns) == 10)
    assert "the ipcache is full" in outcome.said
    world.rows.refuse = False
    outcome = await upkeep(
        world, Connections(), lambda: world.verdict("192.0.2.3") is Verdict.ALLOW
    )
    assert outcome.said[-1] == ""


async def test_the_journal_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cilium_agent.fqdn.journal.SMALLEST", 100)
    for _ in range(50):
        world.learn("a.test.", ONE)
    (before,) = world.folder.iterdir()
    await upkeep(world, Connections(), lambda: not world.journal.grown)
    (after,) = world.folder.iterdir()
    assert after != before
