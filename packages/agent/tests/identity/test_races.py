# SPDX-License-Identifier: Apache-2.0
"""Several agents and the operator's collection race: no endpoint is left with a number that is gone
or that stands for other labels.

The collection of the model is meaner than the operator's: it deletes without any wait. Agents see
the objects late, numbers are few and are taken again at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilium_agent.errors import ApiError, IdentitiesExhausted
from cilium_agent.identity import allocator as allocator_module
from cilium_agent.identity import index as index_module
from cilium_agent.identity.allocator import Allocator
from cilium_core.crds.models import CiliumIdentity
from cilium_core.identity import HEARTBEAT_MARK, MIN_CLUSTER_IDENTITY
from cilium_core.labels import LabelSet

AGENTS = 3
NUMBERS = 8
LABEL_SETS: list[LabelSet] = [{"k8s:app": name} for name in "abc"]
Event = tuple[CiliumIdentity | None, CiliumIdentity | None]


class Clock:
    """Time that stands still until it is told to pass, and chance that can be repeated."""

    now = 0.0
    chance = random.Random()

    def monotonic(self) -> float:
        return self.now


class Quick:
    """No wait between attempts."""

    async def sleep(self) -> None:
        await asyncio.sleep(0)


class Server:
    """Identity objects with versions, and every change of them in order."""

    def __init__(self) -> None:
        self.objects: dict[str, CiliumIdentity] = {}
        self.events: list[Event] = []
        self._version = 0

    def write(self, name: str, item: CiliumIdentity | None) -> CiliumIdentity | None:
        self._version += 1
        old = self.objects.pop(name, None)
        if item is not None:
            item = msgspec.convert(msgspec.to_builtins(item), CiliumIdentity)
            item.metadata.resource_version = str(self._version)
            self.objects[name] = item
        self.events.append((old, item))
        return item

    async def create(self, path: str, body: Any, kind: Any) -> CiliumIdentity:
        await asyncio.sleep(0)
        if body.metadata.name in self.objects:
            raise ApiError(409, "AlreadyExists", "")
        made = self.write(body.metadata.name, body)
        await asyncio.sleep(0)
        assert made is not None
        return made

    async def find(self, path: str, kind: Any) -> CiliumIdentity | None:
        await asyncio.sleep(0)
        return self.objects.get(path.rpartition("/")[2])

    async def patch(self, path: str, body: Any) -> bytes:
        await asyncio.sleep(0)
        name = path.rpartition("/")[2]
        if name not in self.objects:
            raise ApiError(404, "NotFound", "")
        changed = self.write(name, self._annotated(name, body["metadata"]["annotations"]))
        await asyncio.sleep(0)
        return msgspec.json.encode(changed)

    def mark(self, name: str) -> None:
        self.write(name, self._annotated(name, {HEARTBEAT_MARK: "now"}))

    def _annotated(self, name: str, change: dict[str, str | None]) -> CiliumIdentity:
        plain = msgspec.to_builtins(self.objects[name])
        held = plain["metadata"].get("annotations", {}) | change
        plain["metadata"]["annotations"] = {k: v for k, v in held.items() if v is not None}
        return msgspec.convert(plain, CiliumIdentity)


class Node:
    """An agent with its endpoints: [labels, number], seen by the operator once it is published."""

    def __init__(self, server: Server) -> None:
        self.allocator = Allocator(server)
        self.allocator.in_use = lambda number: any(e[1] == number for e in self.endpoints)
        self.allocator.lost = self.renew
        self.endpoints: list[list[Any]] = []
        self.unfinished: list[list[Any]] = []
        self.seen = 0
        self.server = server
        self.tasks: set[asyncio.Task[None]] = set()

    def spawn(self, job: Any) -> None:
        task = asyncio.ensure_future(job)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self, labels: LabelSet) -> None:
        try:
            number = await self.allocator.allocate(labels)
        except IdentitiesExhausted:
            return
        self.unfinished.append([labels, number])

    def finish(self) -> None:
        if self.unfinished:
            self.endpoints.append(self.unfinished.pop(0))

    def renew(self, number: int) -> None:
        for endpoint in self.endpoints:
            if endpoint[1] == number:
                self.spawn(self._renew(endpoint))

    async def _renew(self, endpoint: list[Any]) -> None:
        while True:
            try:
                endpoint[1] = await self.allocator.allocate(endpoint[0])
            except IdentitiesExhausted:
                await asyncio.sleep(0)
            else:
                return

    def deliver(self, count: int) -> None:
        for old, new in self.server.events[self.seen : self.seen + count]:
            self.allocator.observe(old, new)
        self.seen = min(self.seen + count, len(self.server.events))


class World:
    """All of it; `listed` is what the collection saw when it looked last."""

    def __init__(self) -> None:
        self.server = Server()
        self.nodes = [Node(self.server) for _ in range(AGENTS)]
        self.listed: dict[str, CiliumIdentity] = {}
        self.used: set[str] = set()

    def look(self) -> None:
        self.listed = dict(self.server.objects)
        self.used = {str(e[1]) for node in self.nodes for e in node.endpoints}

    def collect(self) -> None:
        """Mark what was unused, delete what was marked and unused; at the version seen only."""
        for name, seen in self.listed.items():
            held = self.server.objects.get(name)
            same = held and held.metadata.resource_version == seen.metadata.resource_version
            if not same or name in self.used:
                continue
            if HEARTBEAT_MARK in seen.metadata.annotations:
                self.server.write(name, None)
            else:
                self.server.mark(name)

    async def settle(self) -> None:
        for _ in range(60):
            for node in self.nodes:
                node.deliver(len(self.server.events))
            await asyncio.sleep(0)


def steps_of(seed: int, count: int = 120) -> list[tuple[str, int, Any]]:
    """Return a long run of steps in which the collection is busy and agents lag behind."""
    chance = random.Random(seed)
    kinds = ["start", "finish", "end", "deliver", "look", "collect", "run"]
    weights = [chance.choice([1, 2, 4, 8]) for _ in kinds]
    details = {
        "start": lambda: chance.choice(LABEL_SETS),
        "deliver": lambda: chance.choice([1, 2, 4, 100]),
    }
    return [
        (kind, chance.randrange(AGENTS), details.get(kind, lambda: None)())
        for kind in chance.choices(kinds, weights, k=count)
    ]


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[Clock]:
    """Few numbers, no rest for them, no waits."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocator_module, "time", clock)
        patch.setattr(allocator_module, "Backoff", Quick)
        patch.setattr(allocator_module, "RETELL_SECONDS", 0)
        patch.setattr(index_module, "time", clock)
        patch.setattr(index_module, "random", clock.chance)
        patch.setattr(index_module, "QUARANTINE", 0.0)
        patch.setattr(index_module, "MAX_CLUSTER_IDENTITY", MIN_CLUSTER_IDENTITY + NUMBERS - 1)
        yield clock


async def play(steps: list[tuple[str, int, Any]], clock: Clock) -> World:
    world = World()
    for what, which, detail in steps:
        node = world.nodes[which]
        acts: dict[str, Callable[[], object]] = {
            "start": lambda node=node, labels=detail: node.spawn(node.start(labels)),
            "finish": node.finish,
            "end": lambda node=node: node.endpoints and node.endpoints.pop(),
            "deliver": lambda node=node, count=detail: node.deliver(count),
            "look": world.look,
            "collect": world.collect,
            "run": lambda: None,
        }
        acts[what]()
        await asyncio.sleep(0)
        if what == "run":
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    await world.settle()
    for node in world.nodes:
        while node.unfinished:
            node.finish()
    await world.settle()
    clock.now += allocator_module.IN_FLIGHT + 1
    await world.settle()
    return world


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32))
def test_every_endpoint_ends_with_a_number_that_stands_for_its_labels(
    seed: int, hurried: Clock
) -> None:
    hurried.chance.seed(seed)
    world = asyncio.run(play(steps_of(seed), hurried))
    stands_for = {name: item.security_labels for name, item in world.server.objects.items()}
    for node in world.nodes:
        for labels, number in node.endpoints:
            assert stands_for.get(str(number)) == labels
        assert not node.tasks
        assert not node.allocator._jobs
        assert not node.allocator._locks
