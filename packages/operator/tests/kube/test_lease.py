# SPDX-License-Identifier: Apache-2.0
"""Leader election on a lease in memory with the API server's guards."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from cilium_operator.errors import ApiError, LeadershipLost
from cilium_operator.kube.lease import Elector, Lease, LeaseTimes

TIMES = LeaseTimes(duration=1.0, renew_deadline=0.3, retry=0.05)


class Memory:
    """One lease."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.down = False

    async def read(self) -> Lease:
        self._answer()
        if self.stored is None:
            raise ApiError(404, "NotFound", "no lease", "GET")
        return msgspec.convert(self.stored, Lease)

    async def create(self, body: dict[str, Any]) -> Lease:
        self._answer()
        if self.stored is not None:
            raise ApiError(409, "AlreadyExists", "there is one", "POST")
        return self._store(body)

    async def replace(self, body: dict[str, Any]) -> Lease:
        self._answer()
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "changed", "PUT")
        return self._store(body)

    def holder(self) -> str:
        assert self.stored is not None
        return str(self.stored["spec"].get("holderIdentity", ""))

    def _store(self, body: dict[str, Any]) -> Lease:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.stored = {**body, "metadata": metadata}
        return msgspec.convert(self.stored, Lease)

    def _answer(self) -> None:
        if self.down:
            raise aiohttp.ClientConnectionError("down")


def elector(store: Memory, name: str) -> Elector:
    return Elector(store, "kube-system", name, TIMES)


async def test_one_leads_and_the_other_follows_after_release() -> None:
    store = Memory()
    one, two = elector(store, "one"), elector(store, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await two.acquire()
    assert store.holder() == "one"
    keeping.cancel()
    await one.release()
    async with asyncio.timeout(0.5):
        await two.acquire()
    assert store.holder() == "two"
    assert store.stored is not None
    assert store.stored["spec"]["leaseTransitions"] == 2


async def test_a_silent_holder_loses_the_lease_after_its_duration() -> None:
    store = Memory()
    await elector(store, "dead").acquire()
    waiting = asyncio.create_task(elector(store, "next").acquire())
    await asyncio.sleep(0.8)
    assert store.holder() == "dead"
    async with asyncio.timeout(1.0):
        await waiting
    assert store.holder() == "next"


async def test_a_holder_gives_up_before_the_others_may_take_over() -> None:
    store = Memory()
    ours = elector(store, "one")
    await ours.acquire()
    store.down = True
    with pytest.raises(LeadershipLost, match="not renewed"):
        async with asyncio.timeout(TIMES.duration):
            await ours.keep()


async def test_a_restarted_holder_does_not_take_anothers_lease_back() -> None:
    store = Memory()
    ours = elector(store, "one")
    await ours.acquire()
    await elector(store, "one").release()
    await elector(store, "two").acquire()
    await ours.release()
    assert store.holder() == "two"
