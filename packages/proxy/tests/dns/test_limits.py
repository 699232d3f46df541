# SPDX-License-Identifier: Apache-2.0
"""Places for questions: of all clients, of one, and the wait for one that gets free."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest

from cilium_proxy.dns.limits import Busy, Room

ONE, TWO = ip_address("192.0.2.1"), ip_address("2001:db8::2")


async def test_a_client_cannot_take_the_others_places() -> None:
    room = Room(10, 2)
    async with room.place(ONE), room.place(ONE):
        with pytest.raises(Busy):
            await room.place(ONE).__aenter__()
        async with room.place(TWO):
            assert room.taken == 3
    async with room.place(ONE):
        assert room.taken == 1


async def test_without_grace_nobody_waits() -> None:
    room = Room(1, 10)
    async with room.place(ONE):
        with pytest.raises(Busy):
            await room.place(TWO).__aenter__()
    assert room.taken == 0


async def test_within_grace_a_place_that_gets_free_is_taken_in_order() -> None:
    room = Room(1, 10, grace=5)
    order: list[int] = []

    async def come(number: int) -> None:
        async with room.place(ONE):
            order.append(number)
            await asyncio.sleep(0)

    async with room.place(TWO):
        tasks = [asyncio.ensure_future(come(number)) for number in range(1)]
        await asyncio.sleep(0.01)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == [0]
    assert room.taken == 0


async def test_grace_ends_and_cancelled_waiters_leave_nothing() -> None:
    room = Room(1, 10, grace=0.05)
    async with room.place(TWO):
        with pytest.raises(Busy):
            await room.place(ONE).__aenter__()
        waiter = asyncio.ensure_future(room.place(ONE).__aenter__())
        await asyncio.sleep(0.01)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with AsyncExitStack() as places:
        await places.enter_async_context(room.place(ONE))
        assert room.taken == 1
