# SPDX-License-Identifier: Apache-2.0
"""Records out of a ring's memory: order, busy and discarded ones, its end, accounting."""

from __future__ import annotations

import numpy as np
import pytest
from hubble_fakes import PlainRing
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.layouts.events import Event
from cilium_hubble.errors import LayoutMismatch
from cilium_hubble.kernel.dtypes import EVENT, dtype_of
from cilium_hubble.kernel.ring import STRIDE, Ring


def record(number: int) -> bytes:
    """An event whose time is its number."""
    fields = {field.name: 0 for field in Event.layout()}
    fields |= {"time": number, "source": bytes(16), "destination": bytes(16), "sport": number % 9}
    return Event(**fields).pack()


def times(ring: Ring, limit: int = 1000) -> list[int]:
    return ring.read(limit)["time"].tolist()


def test_the_dtype_is_the_layout() -> None:
    raw = bytes(range(128))
    declared, seen = Event.unpack(raw), EVENT
    row = np.frombuffer(raw, seen)[0]
    for field in Event.layout():
        want = getattr(declared, field.name)
        got = row[field.name].tobytes() if field.size == 16 else int(row[field.name])
        assert got == want, field.name
        assert seen.fields[field.name][1] == field.offset
    assert dtype_of(Event).itemsize == Event.SIZE == 128


def test_an_empty_ring_gives_nothing_and_stays() -> None:
    memory = PlainRing()
    ring = Ring(memory)
    assert len(ring.read(10)) == 0
    assert (ring.seen, ring.discarded, ring.waiting()) == (0, 0, 0)


def test_records_come_in_order_and_free_their_room() -> None:
    memory = PlainRing()
    ring = Ring(memory)
    for number in range(20):
        assert memory.put(record(number)) is not None
    assert ring.waiting() == 20 * STRIDE
    assert times(ring, 7) == list(range(7))
    assert times(ring) == list(range(7, 20))
    assert memory.room() == memory.size
    assert ring.seen == 20


def test_a_busy_record_stops_the_reader_until_it_is_committed() -> None:
    memory = PlainRing()
    ring = Ring(memory)
    memory.put(record(0))
    busy = memory.put(record(1), busy=True)
    memory.put(record(2))
    assert times(ring) == [0]
    assert times(ring) == []
    assert busy is not None
    memory.commit(busy)
    assert times(ring) == [1, 2]


def test_a_discarded_record_is_skipped_and_counted() -> None:
    memory = PlainRing()
    ring = Ring(memory)
    memory.put(record(0), discarded=True)
    memory.put(record(1))
    memory.put(record(2), discarded=True)
    assert times(ring) == [1]
    assert (ring.seen, ring.discarded) == (1, 2)
    assert ring.waiting() == 0


def test_what_was_read_stays_when_the_kernel_writes_over_it() -> None:
    memory = PlainRing(size=2048)
    ring = Ring(memory)
    memory.put(record(1))
    batch = ring.read(10)
    for number in range(100, 115):
        memory.put(record(number))
    assert batch["time"].tolist() == [1]


@pytest.mark.parametrize("size", [8, 64, 120, 136, 1000])
def test_records_of_another_size_are_refused_after_the_good_ones(size: int) -> None:
    memory = PlainRing()
    ring = Ring(memory)
    memory.put(record(1))
    memory.put(bytes(size))
    assert times(ring) == [1]
    with pytest.raises(LayoutMismatch, match=f"records of {size} bytes"):
        ring.read(10)


@given(
    st.integers(0, 2**63),
    st.lists(
        st.one_of(
            st.sampled_from(["put", "busy", "discard", "commit", "drop"]),
            st.integers(1, 40),
        ),
        max_size=150,
    ),
)
def test_sent_is_seen_plus_lost_whatever_happens(start: int, steps: list[str | int]) -> None:
    """A model of the ring beside it: each record is taken once, in order, or was never reserved."""
    memory = PlainRing(size=2048, position=start // 8 * 8)
    ring = Ring(memory)
    sent = lost = 0
    open_records: list[tuple[int, int]] = []
    wanted: list[int] = []
    gone: set[int] = set()
    taken: list[int] = []
    for step in steps:
        if isinstance(step, int):
            taken += times(ring, step)
        elif step in ("commit", "drop"):
            if open_records:
                number, position = open_records.pop()
                memory.commit(position, discarded=step == "drop")
                gone |= {number} if step == "drop" else set()
        else:
            sent += 1
            place = memory.put(record(sent), busy=step == "busy", discarded=step == "discard")
            if place is None:
                lost += 1
            else:
                wanted.append(sent)
                if step == "busy":
                    open_records.append((sent, place))
                gone |= {sent} if step == "discard" else set()
    for _, position in open_records:
        memory.commit(position)
    while batch := times(ring):
        taken += batch
    assert taken == [number for number in wanted if number not in gone]
    assert sent == ring.seen + ring.discarded + lost
    assert ring.waiting() == 0
