# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st
from proxy_fakes import FakeHubble

from cilium_core.proto import access_pb2
from cilium_proxy.access import buffer as buffers
from cilium_proxy.access import pushing
from cilium_proxy.access.buffer import Buffer
from cilium_proxy.access.pushing import Pusher


def records(*numbers: int) -> list[access_pb2.Record]:
    return [access_pb2.Record(time_ns=number) for number in numbers]


def times(found) -> list[int]:
    return [record.time_ns for record in found]


def test_what_finds_no_room_is_counted_in_the_next_batch():
    buffer = Buffer(capacity=3)
    buffer.add(records(1, 2, 3, 4, 5))
    batch = buffer.batch()
    assert times(batch.records) == [1, 2, 3]
    assert (batch.lost, buffer.lost_ever) == (2, 2)
    buffer.add(records(6))
    assert buffer.batch().lost == 1
    buffer.taken(batch.number)
    buffer.add(records(7))
    assert times(buffer.batch().records) == [7]


def test_no_more_than_a_few_batches_wait_for_an_answer(monkeypatch):
    monkeypatch.setattr(buffers, "BATCH", 1)
    buffer = Buffer()
    buffer.add(records(*range(10)))
    sent = [buffer.batch() for _ in range(buffers.WINDOW)]
    assert buffer.batch() is None
    assert buffer.again() == sent
    buffer.taken(sent[1].number)
    assert buffer.again() == sent[2:]
    assert times(buffer.batch().records) == [buffers.WINDOW]


@given(st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["send", "take"])), max_size=60))
def test_every_record_is_sent_or_counted(steps):
    buffer, number, sent = Buffer(capacity=7), 0, []
    for step in steps:
        if step == "send":
            batch = buffer.batch()
            sent += [batch] if batch else []
        elif step == "take":
            buffer.taken(sent[-1].number if sent else 0)
        else:
            buffer.add(records(*range(number, number + step)))
            number += step
    buffer.taken(sent[-1].number if sent else 0)  # or no more may be sent
    while batch := buffer.batch():
        sent.append(batch)
        buffer.taken(batch.number)
    arrived = [time for batch in sent for time in times(batch.records)]
    assert arrived == sorted(set(arrived))
    assert len(arrived) + sum(batch.lost for batch in sent) == number


@contextlib.asynccontextmanager
async def running(socket, monkeypatch):
    monkeypatch.setattr(pushing, "LAST_RETRY_SECONDS", 0.2)
    pusher = Pusher(socket, Buffer())
    task = asyncio.ensure_future(pusher.run())
    try:
        yield pusher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_records_reach_hubble_through_its_restarts(tmp_path, monkeypatch):
    socket = tmp_path / "access.sock"
    async with running(socket, monkeypatch) as pusher:
        pusher.keep(records(1, 2))
        async with FakeHubble(socket) as hubble:
            await hubble.until(lambda: times(hubble.records) == [1, 2])
        pusher.keep(records(3))
        async with FakeHubble(socket) as hubble:
            await hubble.until(lambda: times(hubble.records) == [3])
            pusher.keep(records(4))
            await hubble.until(lambda: times(hubble.records) == [3, 4])


async def test_what_a_dead_hubble_never_answered_goes_to_the_next(tmp_path, monkeypatch):
    socket = tmp_path / "access.sock"
    async with running(socket, monkeypatch) as pusher:
        async with FakeHubble(socket, answers=False) as hubble:
            pusher.keep(records(1, 2))
            await hubble.until(lambda: times(hubble.records) == [1, 2])
        async with FakeHubble(socket) as hubble:
            await hubble.until(lambda: times(hubble.records) == [1, 2])
