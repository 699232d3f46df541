# SPDX-License-Identifier: Apache-2.0
"""Policy tables in the real kernel: steps in order, restarts, overflow lists, full maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilium_agent.datapath.errors import RowTooWide, TableFull
from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.rows import kernel_key, key_of
from cilium_agent.datapath.store import MapStore
from cilium_core.layouts.policy import BITS, LIST_CELLS, LISTS, ROW_CELLS, ROWS
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey, Step, Tables

pytestmark = pytest.mark.root

EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
KEY = RowKey(1, EGRESS, 6, 80, 16)


class Store:
    """The three policy maps alone, in a folder of their own."""

    def __init__(self, folder: Path, **entries: int) -> None:
        def opened(spec: Any) -> PinnedMap[Any, Any]:
            size = entries.get(spec.name.split("_")[2], spec.max_entries)
            return PinnedMap.open_or_create(replace(spec, max_entries=size), folder)

        self.policy_rows = opened(ROWS)
        self.policy_bits = opened(BITS)
        self.policy_lists = opened(LISTS)

    def close(self) -> None:
        for pinned in (self.policy_rows, self.policy_bits, self.policy_lists):
            pinned.close()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(bpffs: Path) -> Iterator[Path]:
    place = bpffs / "policy-test"
    yield place
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.fixture
def store(folder: Path) -> Iterator[Any]:
    made = Store(folder)
    yield made
    made.close()


def wide(count: int, bit: int = 1) -> Row:
    return Row(cells=tuple(Cell(word, bit, 0, 0) for word in range(count)))


def lists_in(store: Any) -> dict[int, int]:
    """Return how many entries each list in the kernel has."""
    found: dict[int, int] = {}
    for key, info in store.policy_lists.items():
        assert (info.list_id, info.index) == (key.list_id, key.index)
        found[key.list_id] = found.get(key.list_id, 0) + 1
    return found


keys = st.builds(
    lambda policy, way, proto, bits, port: RowKey(
        policy, way, proto, port >> (16 - bits) << (16 - bits) if proto else 0, bits if proto else 0
    ),
    st.integers(1, 2**32 - 1),
    st.sampled_from(Direction),
    st.sampled_from([0, 1, 6, 17, 58, 132, 255]),
    st.integers(0, 16),
    st.integers(0, 65535),
)
words = st.integers(1, 2**64 - 1)
cells = st.lists(
    st.builds(Cell, st.integers(0, 2**32 - 1), words, st.just(0), words),
    max_size=8,
    unique_by=lambda c: c.word,
).map(lambda made: tuple(sorted(made)))
rows = st.builds(Row, st.booleans(), st.booleans(), st.booleans(), cells)
tables = st.builds(
    Tables,
    st.dictionaries(keys, rows, max_size=8),
    st.dictionaries(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), words, max_size=8
    ),
)


@given(keys)
def test_keys_come_back(key: RowKey) -> None:
    raw = kernel_key(key)
    assert key_of(raw) == key
    assert type(raw).unpack(raw.pack()) == raw


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tables, min_size=1, max_size=4))
def test_what_is_written_is_read(store: Any, states: list[Tables]) -> None:
    """State after state, by differences; another reader finds the same."""
    policy = KernelPolicy(store)
    for state in states:
        held = policy.tables
        policy.apply(
            [
                Step(bits=state.bits),
                Step(rows={**dict.fromkeys(set(held.rows) - set(state.rows)), **state.rows}),
                Step(bits=dict.fromkeys(set(held.bits) - set(state.bits))),
            ]
        )
        assert policy.tables == state
        assert KernelPolicy(store).tables == state


def test_only_differences_are_written(store: Any) -> None:
    policy = KernelPolicy(store)
    step = [Step(bits={(5, 0): 1, (5, 1): 2}), Step(rows={KEY: wide(1)})]
    assert policy.apply(step) == 3
    assert policy.apply(step) == 0
    assert KernelPolicy(store).apply(step) == 0, "nor after a restart"
    assert policy.apply([Step(rows={KEY: None, replace_port(81): None})]) == 1


def replace_port(port: int) -> RowKey:
    return KEY._replace(port=port)


def test_steps_and_entries_keep_their_order(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Spy(PinnedMap):  # type: ignore[type-arg]
        def update_raw(self, keys: bytes, values: bytes) -> None:
            size = self.spec.key.SIZE
            split = [keys[at : at + size] for at in range(0, len(keys), size)]
            seen.extend(("write", self.spec.key.unpack(key)) for key in split)
            super().update_raw(keys, values)

        def delete_many(self, keys: Any) -> None:
            listed = list(keys)
            seen.extend(("remove", key) for key in listed)
            super().delete_many(listed)

    for name in ("policy_rows", "policy_bits", "policy_lists"):
        old = getattr(store, name)
        setattr(store, name, Spy(old.spec, old.fd))
    policy = KernelPolicy(store)
    ports = [replace_port(port) for port in (3, 1, 2)]
    policy.apply([Step(rows={ports[0]: wide(1), ports[1]: wide(1)})])
    seen.clear()
    policy.apply(
        [
            Step(bits={(9, 0): 1, (8, 0): 1}),
            Step(rows={ports[1]: None, ports[2]: wide(6), ports[0]: None}),
            Step(bits={(8, 0): None}),
        ]
    )
    told = [(what, getattr(key, "port", getattr(key, "identity", "list"))) for what, key in seen]
    assert told == [
        ("write", 9), ("write", 8),
        ("remove", 1), ("write", "list"), ("write", "list"), ("write", 2), ("remove", 3),
        ("remove", 8),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, ROW_CELLS, ROW_CELLS + 1, ROW_CELLS + LIST_CELLS])
def test_rows_of_every_width(store: Any, count: int) -> None:
    policy = KernelPolicy(store)
    policy.apply([Step(rows={KEY: wide(count)})])
    assert KernelPolicy(store).tables.rows == {KEY: wide(count)}
    assert sum(lists_in(store).values()) == max(0, count - ROW_CELLS)


def test_a_row_too_wide_is_refused_before_anything_of_its_step(store: Any) -> None:
    policy = KernelPolicy(store)
    with pytest.raises(RowTooWide, match="133 words.*132 at most"):
        policy.apply([Step(rows={replace_port(1): wide(1), KEY: wide(ROW_CELLS + LIST_CELLS + 1)})])
    assert policy.tables == KernelPolicy(store).tables == Tables()


def test_lists_never_change_and_are_freed_late(store: Any) -> None:
    clock = Clock()
    policy = KernelPolicy(store, clock)
    policy.apply([Step(rows={KEY: wide(10)})])
    (first,) = lists_in(store)
    policy.apply([Step(rows={KEY: wide(12)})])
    (second,) = set(lists_in(store)) - {first}
    assert lists_in(store) == {first: 6, second: 8}, "a reader of the old row may still be there"
    clock.now += 0.9
    assert policy.collect() == 1
    clock.now += 0.2
    assert policy.collect() == 0
    assert lists_in(store) == {second: 8}
    policy.apply([Step(rows={KEY: wide(3)})])
    clock.now += 1
    policy.apply([])  # collects too
    assert lists_in(store) == {}
    policy.apply([Step(rows={KEY: wide(10)})])
    assert set(lists_in(store)).isdisjoint({first, second}), "numbers are not used again soon"


def test_equal_remainders_share_a_list(store: Any) -> None:
    clock = Clock()
    policy = KernelPolicy(store, clock)
    other = Row(any_deny=True, cells=(Cell(0, 2, 0, 0), *wide(10).cells[1:]))
    policy.apply([Step(rows={KEY: wide(10), replace_port(81): other})])
    assert list(lists_in(store).values()) == [6]
    again = KernelPolicy(store, clock)
    assert again.apply([Step(rows={replace_port(82): wide(10)})]) == 1
    again.apply([Step(rows={KEY: None, replace_port(82): None})])
    clock.now += 2
    assert again.collect() == 0
    assert list(lists_in(store).values()) == [6], "the last row still names it"
    again.apply([Step(rows={replace_port(81): None})])
    clock.now += 2
    again.collect()
    assert lists_in(store) == {}


def test_what_a_dead_writer_left_is_freed(store: Any) -> None:
    """Killed between a list and its row, or before a list in quarantine was freed."""
    clock = Clock()
    policy = KernelPolicy(store, clock)
    policy.apply([Step(rows={KEY: wide(10)})])
    (used,) = lists_in(store)
    policy._lists.take(wide(20).cells[4:])
    assert len(lists_in(store)) == 2
    again = KernelPolicy(store, clock)
    assert again.collect() == 1
    assert len(lists_in(store)) == 2
    clock.now += 1
    assert again.collect() == 0
    assert lists_in(store) == {used: 6}
    assert again.tables.rows == {KEY: wide(10)}


FULL = {
    "rows": (Step(rows={replace_port(port): wide(1) for port in range(5)}), "rows"),
    "bits": (Step(bits={(identity, 0): 1 for identity in range(5)}), "bits"),
    "lists": (Step(rows={KEY: wide(9)}), "lists"),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_table_is_said_and_the_rest_known(folder: Path, name: str) -> None:
    step, table = FULL[name]
    store: Any = Store(folder, **{name: 4})
    policy = KernelPolicy(store)
    kept = Step(
        rows={KEY: wide(1)} if name == "lists" else {}, bits={(1, 1): 1} if name == "bits" else {}
    )
    policy.apply([kept])
    with pytest.raises(TableFull, match=rf"cilium_policy_{table}_v1 has \d of 4"):
        policy.apply([step])
    assert policy.tables == KernelPolicy(store).tables
    if name == "lists":
        assert policy.tables.rows == {KEY: wide(1)}, "the row before stays in force"
    used, room = policy.sizes()[f"cilium_policy_{table}_v1"]
    assert room == 4
    assert used <= 4
    store.close()


def test_many_rows_and_bits_are_quick(store: Any) -> None:
    policy = KernelPolicy(store)
    bits = {(identity, word): identity for identity in range(1, 5001) for word in range(2)}
    made = {RowKey(p, EGRESS, 6, port, 16): wide(2) for p in range(1, 26) for port in range(200)}
    assert policy.apply([Step(bits=bits), Step(rows=made)]) == 15_000
    assert KernelPolicy(store).tables == Tables(made, bits)


def test_the_whole_store_has_them(bpffs: Path) -> None:
    store = MapStore(bpffs / "store-of-policy")
    policy = KernelPolicy(store)
    policy.apply([Step(rows={KEY: wide(9)})])
    assert policy.sizes() == {
        "cilium_policy_rows_v1": (1, 262_144),
        "cilium_policy_bits_v1": (0, 1_048_576),
        "cilium_policy_lists_v1": (5, 65_536),
    }
    store.close()
    for path in store.directory.iterdir():
        path.unlink()
