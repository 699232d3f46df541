# SPDX-License-Identifier: Apache-2.0
"""The reader on the kernel's own ring buffer: exact accounting, restarts, foreign records."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from cilium_hubble.errors import LayoutMismatch, RingBusy
from cilium_hubble.flows.clock import boot_to_wall
from cilium_hubble.kernel import source as source_module
from cilium_hubble.kernel.lost import open_lost
from cilium_hubble.kernel.mapping import open_ring, pinned_id
from cilium_hubble.kernel.ring import STRIDE, Ring
from cilium_hubble.kernel.source import EventSource, lock

sys.path.insert(0, str(Path(__file__).parent))
from producer import ARRAY, Producer, make_map

pytestmark = pytest.mark.root
SIZE = 1 << 16


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hubble-bpffs")
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def producer(bpffs: Path) -> Iterator[Producer]:
    made = Producer(bpffs, SIZE)
    yield made
    made.close()


def test_records_arrive_in_order_with_the_boot_clock(producer: Producer) -> None:
    mapped = open_ring(producer.ring_path)
    assert mapped is not None
    ring = Ring(mapped)
    producer.run(100)
    events = ring.read(1000)
    assert events["tx_packets"].tolist() == list(range(100))
    assert set(events["type"].tolist()) == {4}
    walls = events["time"].astype("i8") + boot_to_wall()
    assert np.abs(walls - time.time_ns()).max() < 10**9
    assert ring.waiting() == 0
    mapped.close()


def test_sent_is_seen_plus_lost_exactly(producer: Producer) -> None:
    """Two CPUs write as fast as they can while the reader reads: nothing is unaccounted for."""
    mapped, lost = open_ring(producer.ring_path), open_lost(producer.lost_path)
    assert mapped is not None
    assert lost is not None
    ring = Ring(mapped)
    rounds, each = 40, 5000
    writers = [
        threading.Thread(target=lambda: [producer.run(each) for _ in range(rounds)])
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    numbers = []
    while any(writer.is_alive() for writer in writers) or ring.waiting():
        events = ring.read(4096)
        numbers.append(events["tx_packets"])
        if len(events) < 64:
            time.sleep(0.0005)
    seen = np.concatenate(numbers)
    sent = 2 * rounds * each
    assert len(np.unique(seen)) == len(seen) == ring.seen
    assert sum(lost.grown().values()) == lost.total == sent - ring.seen
    assert ring.seen > SIZE // STRIDE
    lost.close()
    mapped.close()


def test_what_does_not_fit_is_lost_and_counted_by_cpu(producer: Producer) -> None:
    lost = open_lost(producer.lost_path)
    assert lost is not None
    fits = SIZE // STRIDE
    producer.run(fits + 50)
    grown = lost.grown()
    assert sum(grown.values()) in (50, 51)  # the kernel keeps a ring from being quite full
    assert len(grown) == 1
    assert lost.grown() == {}
    lost.close()


def test_the_next_reader_goes_on_where_the_last_stopped(producer: Producer) -> None:
    producer.run(10)
    for count, numbers in ((4, [0, 1, 2, 3]), (9, [4, 5, 6, 7, 8, 9]), (1, [])):
        mapped = open_ring(producer.ring_path)
        assert mapped is not None
        assert Ring(mapped).read(count)["tx_packets"].tolist() == numbers
        mapped.close()


def test_another_layout_is_refused(bpffs: Path) -> None:
    made = Producer(bpffs, SIZE, record_size=120)
    made.run(1)
    mapped = open_ring(made.ring_path)
    assert mapped is not None
    with pytest.raises(LayoutMismatch, match="records of 120 bytes, this hubble reads 128"):
        Ring(mapped).read(10)
    mapped.close()
    made.close()


def test_pins_that_are_absent_or_something_else(bpffs: Path) -> None:
    assert open_ring(bpffs / "nothing") is None
    assert open_lost(bpffs / "nothing") is None
    assert pinned_id(bpffs / "nothing") is None
    make_map(ARRAY, 4, 4, 1, bpffs / "array")
    with pytest.raises(LayoutMismatch, match="not a ring buffer"):
        open_ring(bpffs / "array")
    with pytest.raises(LayoutMismatch, match="not a per-CPU array"):
        open_lost(bpffs / "array")
    (bpffs / "array").unlink()


def test_there_is_one_reader(tmp_path: Path) -> None:
    held = lock(tmp_path / "run" / "events.lock")
    with pytest.raises(RingBusy, match="another process reads the event ring"):
        lock(tmp_path / "run" / "events.lock")
    os.close(held)
    os.close(lock(tmp_path / "run" / "events.lock"))


async def test_the_source_waits_for_the_ring_and_follows_its_replacement(
    bpffs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "PIN_SECONDS", 0.05)
    monkeypatch.setattr(source_module, "LOST_SECONDS", 0.05)
    source = EventSource(bpffs, tmp_path / "lock")
    seen: list[int] = []
    lost = 0

    async def read(until: int) -> None:
        nonlocal lost
        async for batch in batches:
            seen.extend(batch.events["tx_packets"].tolist())
            lost += sum(batch.lost.values())
            assert batch.since <= batch.now
            if len(seen) + lost >= until:
                return

    async with aclosing(source.batches()) as batches:
        first = asyncio.create_task(read(20))
        await asyncio.sleep(0.05)
        assert source.capacity == 0
        producer = Producer(bpffs, SIZE)
        producer.run(20)
        await asyncio.wait_for(first, 5)
        assert source.capacity == SIZE
        overflow = SIZE // STRIDE + 100
        producer.run(overflow)
        await asyncio.wait_for(read(20 + overflow), 5)
        assert lost == source.lost == source.lost_ever > 0
        producer.close()
        again = Producer(bpffs, SIZE)
        again.run(5)
        before = len(seen)
        await asyncio.wait_for(read(before + lost + 5), 5)
        assert seen[before:] == [0, 1, 2, 3, 4]
        again.close()
    assert source.seen == len(seen)
    source.close()
