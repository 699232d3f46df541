# SPDX-License-Identifier: Apache-2.0
"""Allocation: one number per label set, no number twice, lost identities come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_api import FakeApi, eventually, serving

from cilium_agent.errors import IdentitiesExhausted
from cilium_agent.identity import index as module
from cilium_agent.identity.allocator import PATH, Allocator
from cilium_core.crds.models import CiliumIdentity, ObjectMeta
from cilium_core.identity import MAX_CLUSTER_IDENTITY, MIN_CLUSTER_IDENTITY

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
