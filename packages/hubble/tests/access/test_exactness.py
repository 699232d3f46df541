# SPDX-License-Identifier: Apache-2.0
"""Every record that a proxy made is a flow that a follower gets, or is told as lost, to the one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hubble_fakes import Node1

from cilium_core.proto import access_pb2, flow_pb2
from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.access.server import AccessRecords
from cilium_hubble.access.server import serve as serve_records
from cilium_hubble.flows import store as store_module
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer, handler

RATE, SECONDS, BATCH = 5_000, 2.0, 100


def _batch(number: int, lost: int = 0, size: int = BATCH) -> access_pb2.Batch:
    records = [
        access_pb2.Record(
            time_ns=time.time_ns(),
            source="10.0.0.10",
            source_port=1 + (number * BATCH + index) % 60_000,
            destination="10.0.0.11",
            destination_port=80,
            direction=1,
            verdict=flow_pb2.FORWARDED,
            protocol=6,
            l7=flow_pb2.Layer7(
                type=flow_pb2.REQUEST,
                http=flow_pb2.HTTP(method="GET", url=f"http://db/{number}/{index}"),
            ),
        )
        for index in range(size)
    ]
    return access_pb2.Batch(number=number, records=records, lost=lost)


class _Hubble:
    """A node's sockets over a store, and channels to them."""

    def __init__(self, folder: Path, capacity: int = 4095) -> None:
        self.node = Node1(capacity)
        self.records = AccessRecords(self.node.ingest, lambda _rows: None)
        self.observer = Observer(self.node.ingest, self.node.names)
        self.access, self.own = folder / "access.sock", folder / "hubble.sock"

    async def push(self, batches: AsyncIterator[access_pb2.Batch]) -> int:
        """Send batches, each after the one before was answered; return how many records."""
        sent = 0
        async with grpc.aio.insecure_channel(f"unix:{self.access}") as channel:
            method = channel.stream_stream(
                "/cilium.python.access.v1.AccessRecords/Push",
                request_serializer=access_pb2.Batch.SerializeToString,
                response_deserializer=access_pb2.Taken.FromString,
            )
            call = method()
            async for batch in batches:
                await call.write(batch)
                assert (await call.read()).number == batch.number
                sent += len(batch.records)
            await call.done_writing()
        return sent

    async def follow(self, total: int) -> tuple[list[str], dict[int, int]]:
        """Follow until flows and lost ones are `total`; return the URLs and the lost by source."""
        urls: list[str] = []
        lost: dict[int, int] = {}
        async with grpc.aio.insecure_channel(f"unix:{self.own}") as channel:
            method: Any = channel.unary_stream(
                "/observer.Observer/GetFlows",
                request_serializer=pb.GetFlowsRequest.SerializeToString,
                response_deserializer=pb.GetFlowsResponse.FromString,
            )
            async for one in method(pb.GetFlowsRequest(follow=True)):
                if one.HasField("flow"):
                    urls.append(one.flow.l7.http.url)
                else:
                    event = one.lost_events
                    lost[event.source] = lost.get(event.source, 0) + event.num_events_lost
                if len(urls) + sum(lost.values()) >= total:
                    break
        return urls, lost


async def _paced(count: int) -> AsyncIterator[access_pb2.Batch]:
    begin = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begin + number * BATCH / RATE - time.monotonic()))
        yield _batch(number)


async def test_nothing_is_lost_at_five_thousand_a_second(tmp_path: Path) -> None:
    hubble = _Hubble(tmp_path)
    batches = int(RATE * SECONDS) // BATCH
    async with (
        serve_records(hubble.access, hubble.records),
        serve(hubble.own, [handler(hubble.observer)]),
    ):
        following = asyncio.create_task(hubble.follow(batches * BATCH))
        await asyncio.sleep(0.3)
        begin = time.monotonic()
        sent = await hubble.push(_paced(batches))
        spent = time.monotonic() - begin
        async with asyncio.timeout(20):
            urls, lost = await following
    assert (len(urls), lost) == (sent, {})
    assert urls == [f"http://db/{n}/{i}" for n in range(batches) for i in range(BATCH)]
    assert hubble.records.lost == hubble.observer.missed == 0
    assert spent < 4 * SECONDS, f"only {sent / spent:.0f} records a second"


async def test_what_the_proxy_lost_and_what_a_slow_follower_missed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is more than the store holds: the difference is told in the stream, exactly."""
    monkeypatch.setattr(store_module, "MIN_SLOTS", 64)
    hubble = _Hubble(tmp_path, capacity=31)
    batches, last, lost_by_proxy = 30, 10, 7

    async def all_at_once() -> AsyncIterator[access_pb2.Batch]:
        for number in range(batches):
            yield _batch(number)

    async def one_more() -> AsyncIterator[access_pb2.Batch]:
        yield _batch(batches, lost_by_proxy, last)

    total = batches * BATCH + last
    async with (
        serve_records(hubble.access, hubble.records),
        serve(hubble.own, [handler(hubble.observer)]),
    ):
        following = asyncio.create_task(hubble.follow(total + lost_by_proxy))
        await asyncio.sleep(0.3)
        sent = await hubble.push(all_at_once())
        await asyncio.sleep(1.1)  # a follower hears of what it missed once a second
        sent += await hubble.push(one_more())
        async with asyncio.timeout(20):
            urls, lost = await following
    assert sent == total
    assert lost[flow_pb2.HUBBLE_RING_BUFFER] >= batches * (BATCH - 64)
    assert lost == {
        flow_pb2.HUBBLE_RING_BUFFER: total - len(urls),
        flow_pb2.OBSERVER_EVENTS_QUEUE: lost_by_proxy,
    }
    assert len(urls) == len(set(urls))
    assert hubble.records.lost == lost_by_proxy
    assert hubble.observer.missed == total - len(urls)
