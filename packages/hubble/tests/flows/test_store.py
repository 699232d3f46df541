# SPDX-License-Identifier: Apache-2.0
"""Rows by sequence number, whatever the batches; what queries see; waiting; interned numbers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.interned import Interned
from cilium_hubble.flows.record import LOST, STORED
from cilium_hubble.flows.store import MIN_SLOTS, Store


def rows(first: int, count: int) -> np.ndarray:
    made = np.zeros(count, STORED)
    made["time"] = np.arange(first, first + count)
    made["type"] = 4
    return made


@given(st.lists(st.integers(0, 2 * MIN_SLOTS), max_size=6), st.data())
def test_the_last_rows_are_kept_in_order(sizes: list[int], data: st.DataObject) -> None:
    store, total = Store(4095), 0
    for size in sizes:
        store.append(rows(total, size))
        total += size
    assert store.next_sequence == store.flows == total
    assert store.oldest == max(0, total - MIN_SLOTS)
    assert store.shown == min(total, 4095)
    start = data.draw(st.integers(store.oldest, total))
    stop = data.draw(st.integers(start, total))
    assert store.read(start, stop)["time"].tolist() == list(range(start, stop))


def test_rows_that_are_not_held_are_an_error() -> None:
    store = Store(4095)
    store.append(rows(0, MIN_SLOTS + 1))
    for span in ((0, 1), (1, MIN_SLOTS + 2), (5, 4)):
        with pytest.raises(IndexError, match="held are 1 to"):
            store.read(*span)


def test_reads_are_copies() -> None:
    store = Store(1)
    store.append(rows(0, 3))
    held = store.read(0, 3)
    store.append(rows(100, MIN_SLOTS))
    assert held["time"].tolist() == [0, 1, 2]


def test_lost_rows_are_no_flows() -> None:
    store = Store(10)
    made = rows(0, 3)
    made["type"][1] = LOST
    store.append(made)
    assert (store.flows, store.shown) == (2, 3)


@pytest.mark.parametrize(
    ("capacity", "slots"), [(1, MIN_SLOTS), (16383, 1 << 15), (65535, 1 << 17)]
)
def test_more_is_held_than_shown(capacity: int, slots: int) -> None:
    store = Store(capacity)
    store.append(rows(0, 3 * slots))
    assert store.next_sequence - store.oldest == slots >= 2 * capacity
    assert store.shown == capacity


async def test_who_waits_is_woken_by_the_row_that_he_waits_for() -> None:
    store = Store(10)
    waiting = asyncio.create_task(store.wait(1))
    await asyncio.sleep(0)
    store.append(rows(0, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    store.append(rows(1, 1))
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(store.wait(0), 1)


@given(st.lists(st.one_of(st.text(max_size=2), st.sets(st.integers(0, 5))), max_size=40))
def test_interned_numbers_against_a_dictionary(steps: list[str | set[int]]) -> None:
    table: Interned[str] = Interned("")
    model = {0: ""}
    for step in steps:
        if isinstance(step, str):
            number = table.number(step)
            assert model.setdefault(number, step) == step
        else:
            gone = set(model) - {0, *step}
            assert table.keep_only(step) == len(gone)
            assert {table[number] for number in gone} <= {""}  # and no memory is held
            model = {key: value for key, value in model.items() if key in {0, *step}}
        assert {number: table[number] for number in model} == model
        assert len(table) == len(model)


@given(st.integers(0, (1 << 60) - 1), st.integers(0, (1 << 62) - 1))
def test_uuids_carry_the_sequence_number(head: int, sequence: int) -> None:
    ids = FlowIds(head)
    text = ids.of(sequence)
    assert text[14] == "8"
    assert text[19] in "89ab"
    assert ids.sequence(text) == sequence
    assert FlowIds(head ^ 1).sequence(text) is None


def test_no_uuid() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        FlowIds().sequence("web-1")
