# SPDX-License-Identifier: Apache-2.0
"""Allocation: one number per label set, no number twice, lost identities come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_api import FakeApi, eventually, serving

from cilium_agent.errors import ApiError, IdentitiesExhausted
from cilium_agent.identity import allocator as allocator_module
from cilium_agent.identity import index as module
from cilium_agent.identity.allocator import PATH, Allocator
from cilium_agent.k8s.watches import Watches
from cilium_core.crds.models import CiliumIdentity, ObjectMeta
from cilium_core.identity import HEARTBEAT_MARK, MAX_CLUSTER_IDENTITY, MIN_CLUSTER_IDENTITY

LABELS = {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop"}


def identity(number: int, deleted: str | None = None, **labels: str) -> CiliumIdentity:
    meta = ObjectMeta(name=str(number), deletion_timestamp=deleted)
    return CiliumIdentity(metadata=meta, security_labels=labels or LABELS)


async def test_creates_once_however_many_ask() -> None:
    api = FakeApi()
    async with serving(api) as client:
        allocator = Allocator(client)
        numbers = await asyncio.gather(*(allocator.allocate(dict(LABELS)) for _ in range(20)))
    assert len(set(numbers)) == 1
    assert MIN_CLUSTER_IDENTITY <= numbers[0] <= MAX_CLUSTER_IDENTITY
    item = api.objects[f"{PATH}/{numbers[0]}"]
    assert item["security-labels"] == LABELS
    assert item["metadata"]["labels"] == {"io.kubernetes.pod.namespace": "shop"}
    assert len([1 for method, _ in api.requests if method == "POST"]) == 1


async def test_a_taken_number_is_tried_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    other: dict[str, Any] = {"metadata": {"name": "300"}, "security-labels": {"k8s:app": "other"}}
    api.put(PATH, other)
    draws = iter([300, 300, 301])
    monkeypatch.setattr(module.random, "randint", lambda _low, _high: next(draws))
    async with serving(api) as client:
        assert await Allocator(client).allocate(LABELS) == 301


async def test_lowest_of_duplicates_serves_and_a_dying_one_does_not() -> None:
    async with serving(FakeApi()) as client:
        allocator = Allocator(client)
        for number in (900, 400, 700):
            allocator.observe(None, identity(number))
        assert await allocator.allocate(LABELS) == 400
        allocator.observe(identity(400), identity(400, deleted="2026-01-01T00:00:00Z"))
        assert await allocator.allocate(LABELS) == 700
        allocator.observe(identity(700), None)
        assert await allocator.allocate(LABELS) == 900
        assert allocator.labels_of(700) is None


async def test_identities_that_went_while_no_agent_ran_come_back_with_their_numbers() -> None:
    api = FakeApi()
    other = {"k8s:app": "other"}
    moved = {"k8s:app": "moved"}
    async with serving(api) as client:
        allocator = Allocator(client)
        allocator.observe(None, identity(500, **other))
        allocator.observe(None, identity(601, **moved))
        # 500 is there, `moved` has another number by now, 4 is reserved, 700's labels are lost.
        held = {400: LABELS, 500: other, 600: moved, 4: {"reserved:health": ""}, 700: {}}
        await allocator.reclaim(held)
        assert [path for method, path in api.requests if method == "POST"] == [PATH]
        assert api.objects[f"{PATH}/400"]["security-labels"] == LABELS
        assert await allocator.allocate(LABELS) == 400
        assert await allocator.allocate(moved) == 601


async def test_an_identity_that_cannot_come_back_is_no_failed_start() -> None:
    api = FakeApi()
    async with serving(api) as client:
        allocator = Allocator(client)
        api.fail_next = [500]
        await allocator.reclaim({400: LABELS})
        assert MIN_CLUSTER_IDENTITY <= await allocator.allocate(LABELS) <= MAX_CLUSTER_IDENTITY


async def test_a_number_that_went_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([400, 401, 401, 402])
    monkeypatch.setattr(module.random, "randint", lambda _low, _high: next(draws))
    async with serving(FakeApi()) as client:
        allocator = Allocator(client)
        allocator.observe(None, identity(400, **{"k8s:app": "gone"}))
        allocator.observe(identity(400, **{"k8s:app": "gone"}), None)
        assert await allocator.allocate(LABELS) == 401


async def test_no_number_left_is_said() -> None:
    async with serving(FakeApi()) as client:
        allocator = Allocator(client)
        for number in range(MIN_CLUSTER_IDENTITY, MAX_CLUSTER_IDENTITY + 1):
            allocator.observe(None, identity(number, **{"k8s:app": str(number)}))
        with pytest.raises(IdentitiesExhausted, match="labels"):
            await allocator.allocate(LABELS)


async def test_an_identity_in_use_is_made_again() -> None:
    api = FakeApi()
    async with serving(api) as client:
        allocator = Allocator(client)
        allocator.in_use = lambda number: number == 500
        for number in (500, 501):
            allocator.observe(None, identity(number, **{"k8s:app": str(number)}))
            allocator.observe(identity(number, **{"k8s:app": str(number)}), None)
        await eventually(lambda: f"{PATH}/500" in api.objects)
        await asyncio.sleep(0.05)
    assert f"{PATH}/501" not in api.objects
    assert api.objects[f"{PATH}/500"]["security-labels"] == {"k8s:app": "500"}


def marked(number: int) -> dict[str, Any]:
    meta = {"name": str(number), "annotations": {HEARTBEAT_MARK: "2026-01-01T00:00:00Z", "a": "b"}}
    return {"metadata": meta, "security-labels": dict(LABELS)}


@asynccontextmanager
async def following(api: FakeApi) -> AsyncIterator[Allocator]:
    """An allocator that is up to date with the API."""
    async with serving(api) as client:
        informer = Watches.of(client, "node1").ciliumidentities
        allocator = Allocator(client)
        allocator.attach(informer)
        task = asyncio.create_task(informer.run())
        try:
            await eventually(lambda: bool(api.watches))
            yield allocator
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})


def marks(api: FakeApi, number: int) -> dict[str, str]:
    return dict(api.objects[f"{PATH}/{number}"]["metadata"].get("annotations", {}))


async def test_a_marked_identity_is_unmarked_before_it_is_handed_out() -> None:
    api = FakeApi()
    version = api.put(PATH, marked(300))["metadata"]["resourceVersion"]
    async with following(api) as allocator:
        assert await allocator.allocate(LABELS) == 300
        assert marks(api, 300) == {"a": "b"}
        found = api.objects[f"{PATH}/300"]["metadata"]["resourceVersion"]
        assert found != version, "the operator's deletion of the marked version fails"
        before = len(api.requests)
        assert await allocator.allocate(LABELS) == 300
        assert len(api.requests) == before, "no request without a mark"


async def test_one_that_was_deleted_at_that_very_moment_is_not_handed_out() -> None:
    api = FakeApi()
    api.put(PATH, marked(300))
    async with following(api) as allocator:
        del api.objects[f"{PATH}/300"]  # the watch has not told yet
        number = await allocator.allocate(LABELS)
        assert number != 300
        assert api.objects[f"{PATH}/{number}"]["security-labels"] == LABELS


async def test_one_that_stands_for_other_labels_meanwhile_is_not_handed_out() -> None:
    api = FakeApi()
    api.put(PATH, marked(300))
    async with following(api) as allocator:
        foreign: dict[str, Any] = {"metadata": {"name": "300"}, "security-labels": {"k8s:app": "x"}}
        api.objects[f"{PATH}/300"] = foreign
        assert await allocator.allocate(LABELS) != 300
        assert allocator.labels_of(300) == {"k8s:app": "x"}


async def test_a_refused_unmarking_is_no_hand_out() -> None:
    api = FakeApi()
    api.put(PATH, marked(300))
    async with following(api) as allocator:
        api.fail_next = [500]
        with pytest.raises(ApiError):
            await allocator.allocate(LABELS)
        assert await allocator.allocate(LABELS) == 300


async def test_a_mark_on_what_is_in_use_is_removed() -> None:
    api = FakeApi()
    async with following(api) as allocator:
        number = await allocator.allocate(LABELS)  # its endpoint is still being made
        api.fail_next = [500]
        api.put(PATH, marked(number))
        await eventually(lambda: marks(api, number) == {"a": "b"})
        api.put(PATH, marked(number + 1))
        await asyncio.sleep(0.05)
        assert HEARTBEAT_MARK in marks(api, number + 1), "nobody here uses that"


async def test_an_identity_that_is_deleted_under_an_unfinished_endpoint_is_made_again() -> None:
    api = FakeApi()
    async with following(api) as allocator:
        number = await allocator.allocate(LABELS)
        api.remove(f"{PATH}/{number}")
        await eventually(lambda: f"{PATH}/{number}" in api.objects)
        assert await allocator.allocate(LABELS) == number


async def test_who_asks_while_an_identity_is_made_again_gets_that_one() -> None:
    class Slow:
        """Answers a creation late, as a server does whose watch is not yet told of it."""

        def __init__(self) -> None:
            self.asked: asyncio.Queue[CiliumIdentity] = asyncio.Queue()

        async def create(self, path: str, body: Any, kind: type[CiliumIdentity]) -> CiliumIdentity:
            self.asked.put_nowait(body)
            await asyncio.sleep(0.01)
            made: CiliumIdentity = body
            return made

    client = Slow()
    allocator = Allocator(client)  # type: ignore[arg-type]
    number = await allocator.allocate(LABELS)
    await client.asked.get()
    allocator.observe(identity(number), None)
    await client.asked.get()
    assert await allocator.allocate(LABELS) == number
    assert client.asked.empty()


async def test_hand_outs_count_as_use_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator_module, "IN_FLIGHT", 0.0)
    api = FakeApi()
    async with following(api) as allocator:
        number = await allocator.allocate(LABELS)
        api.remove(f"{PATH}/{number}")
        await eventually(lambda: number not in allocator.known())
        await asyncio.sleep(0.05)
        assert f"{PATH}/{number}" not in api.objects


async def test_a_number_that_others_took_is_given_up() -> None:
    """Deleted, drawn by another node, and met when it is to be made again: ask again."""
    api = FakeApi()
    lost: list[int] = []
    async with following(api) as allocator:
        number = await allocator.allocate(LABELS)
        allocator.in_use = lambda one: one == number
        allocator.lost = lost.append
        meta = {"name": str(number)}
        api.remove(f"{PATH}/{number}")
        api.put(PATH, {"metadata": meta, "security-labels": {"k8s:app": "thief"}})
        await eventually(lambda: lost == [number])
        again = await allocator.allocate(LABELS)
        assert again != number
        assert api.objects[f"{PATH}/{number}"]["security-labels"] == {"k8s:app": "thief"}
        # The same, seen as one change (a new list after a lost watch).
        allocator.in_use = lambda one: one == again
        stolen = {"metadata": {"name": str(again)}, "security-labels": {"k8s:app": "thief"}}
        api.put(PATH, stolen)
        await eventually(lambda: lost == [number, again])


async def test_objects_that_are_no_cluster_identity_serve_nobody() -> None:
    async with serving(FakeApi()) as client:
        allocator = Allocator(client)
        for name in ("1", "0300", "70000", "web"):
            meta = ObjectMeta(name=name)
            allocator.observe(None, CiliumIdentity(metadata=meta, security_labels=LABELS))
        assert allocator.known() == {}
        assert await allocator.allocate(LABELS) >= MIN_CLUSTER_IDENTITY
