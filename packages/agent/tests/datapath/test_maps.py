# SPDX-License-Identifier: Apache-2.0
"""Pinned maps and tables against the real kernel."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cilium_agent.datapath import syscall
from cilium_agent.datapath.errors import KernelError, MapMismatch
from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.metrics import possible_cpus
from cilium_agent.datapath.store import MapStore
from cilium_agent.datapath.tables import Changes, Table
from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import (
    ALL_MAPS,
    IPCACHE,
    SLOTS,
    IpcacheInfo,
    IpcacheKey,
    SlotInfo,
    SlotKey,
)
from cilium_core.layouts.policy import CONNECTIONS, PEER_NUMBERS, POLICY_NUMBERS
from cilium_core.layouts.redirect import RULE_SET_PORTS
from cilium_core.layouts.sizes import MapSizes
from cilium_core.layouts.spec import MapSpec

pytestmark = pytest.mark.root

Opener = Callable[[MapSpec[Any, Any]], PinnedMap[Any, Any]]


@pytest.fixture
def open_map(bpffs: Path, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Open maps in a folder of this test's own; closed and unpinned afterwards."""
    folder = bpffs / "maps-test"
    made: list[PinnedMap[Any, Any]] = []

    def opener(spec: MapSpec[Any, Any]) -> PinnedMap[Any, Any]:
        made.append(PinnedMap.open_or_create(spec, folder))
        return made[-1]

    yield opener
    for entry in made:
        entry.close()
        (folder / entry.spec.name).unlink(missing_ok=True)


def slots(first: int, last: int) -> dict[SlotKey, SlotInfo]:
    return {SlotKey(1, n): SlotInfo(n + 100, 1) for n in range(first, last)}


def prefixes(count: int) -> dict[IpcacheKey, IpcacheInfo]:
    networks = list(IPv4Network("10.0.0.0/8").subnets(new_prefix=24))[:count]
    return {IpcacheKey(*pack_network(net)): IpcacheInfo(n) for n, net in enumerate(networks)}


@pytest.mark.parametrize("count", [0, 1, 2, 4096, 4097, 10000])
@pytest.mark.parametrize(("spec", "rows"), [(SLOTS, slots), (IPCACHE, prefixes)])
def test_what_is_written_is_read(open_map: Opener, count: int, spec: Any, rows: Any) -> None:
    pinned = open_map(spec)
    wanted = slots(0, count) if spec is SLOTS else rows(count)
    pinned.update_many(wanted)
    assert dict(pinned.items()) == wanted
    pinned.delete_many(list(wanted)[: count // 2])
    pinned.delete_many(list(wanted)[: count // 2])  # again: absent is no error
    left = dict(list(wanted.items())[count // 2 :])
    assert dict(pinned.items()) == left
    for key, value in list(left.items())[:3]:
        assert pinned.lookup(key) == value


def test_longest_prefix_wins(open_map: Opener) -> None:
    pinned = open_map(IPCACHE)
    pinned.update_many(
        {
            IpcacheKey(*pack_network("10.0.0.0/8")): IpcacheInfo(1),
            IpcacheKey(*pack_network("10.1.0.0/16")): IpcacheInfo(2),
            IpcacheKey(*pack_network("::/0")): IpcacheInfo(3),
        }
    )
    for address, identity in (("10.1.2.3/32", 2), ("10.2.2.3/32", 1), ("2001:db8::1/128", 3)):
        assert pinned.lookup(IpcacheKey(*pack_network(address))).identity == identity


def test_reading_without_batches_gives_the_same(open_map: Opener) -> None:
    pinned = open_map(SLOTS)
    pinned.update_many(slots(0, 500))
    assert dict(pinned._walk()) == dict(pinned._raw_items())


def test_the_pin_outlives_the_descriptor(open_map: Opener) -> None:
    first = open_map(SLOTS)
    first.update_many(slots(0, 3))
    first.close()
    first.close()
    assert dict(open_map(SLOTS).items()) == slots(0, 3)


def test_another_layout_is_refused_and_named(open_map: Opener) -> None:
    open_map(SLOTS)
    open_map(IPCACHE)
    with pytest.raises(MapMismatch, match=IPCACHE.name):
        open_map(replace(IPCACHE, max_entries=7))
    with pytest.raises(MapMismatch, match="HASH"):
        open_map(replace(SLOTS, key=IpcacheKey))


@pytest.mark.parametrize("spec", [SLOTS, IPCACHE], ids=["hash", "trie"])
def test_a_full_map_takes_what_it_has_room_for_and_is_shadowed_truly(
    open_map: Opener, spec: MapSpec[Any, Any]
) -> None:
    kernel = open_map(replace(spec, max_entries=50))
    rows: dict[Any, Any] = dict(slots(0, 60)) if spec is SLOTS else prefixes(60)
    keys = list(rows)
    old = {keys[55]: next(iter(rows.values()))}
    table = Table(kernel)
    table.upsert(old)
    with pytest.raises(KernelError) as raised:
        table.upsert(rows)
    assert raised.value.errno in (errno.E2BIG, errno.ENOSPC)
    assert dict(table.current) == dict(kernel.items())
    assert len(table.current) == 50
    assert table.current[keys[55]] == rows[keys[55]], "what is there already needs no room"
    table.delete(list(table.current)[:10])
    table.upsert({key: rows[key] for key in list(rows)[:49] if key not in table.current})
    assert dict(table.current) == dict(kernel.items())


def test_only_differences_are_counted(open_map: Opener) -> None:
    table = Table(open_map(SLOTS))
    assert table.replace(slots(0, 4)) == Changes(added=4)
    assert not table.replace(slots(0, 4))
    assert table.replace({**slots(2, 6), SlotKey(1, 2): SlotInfo(7, 1)}) == Changes(2, 1, 2)
    assert table.delete([SlotKey(1, 3), SlotKey(5, 5)]) == Changes(removed=1)
    assert dict(table.kernel.items()) == dict(table.current)


def test_a_restart_adopts_what_the_kernel_holds(open_map: Opener) -> None:
    Table(open_map(SLOTS)).upsert(slots(0, 4))
    again = Table(open_map(SLOTS))
    assert again.adopt() == 4
    assert not again.upsert(slots(0, 4))
    assert again.replace({}) == Changes(removed=4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.integers(0, 40), st.integers(0, 3), max_size=30), min_size=1, max_size=6
    )
)
def test_kernel_and_shadow_never_part(open_map: Opener, states: list[dict[int, int]]) -> None:
    table = Table(open_map(SLOTS))
    table.adopt()
    for state in states:
        desired = {SlotKey(2, slot): SlotInfo(value, 2) for slot, value in state.items()}
        table.replace(desired)
        assert dict(table.kernel.items()) == desired == dict(table.current)


def test_store_opens_every_map_once(bpffs: Path) -> None:
    store = MapStore(bpffs / "store-test")
    pinned = {path.name for path in (bpffs / "store-test").iterdir()}
    assert pinned == {
        spec.name for spec in (*ALL_MAPS, PEER_NUMBERS, POLICY_NUMBERS, RULE_SET_PORTS)
    }
    assert store.metrics.totals() == {}
    store.close()
    for name in pinned:
        (bpffs / "store-test" / name).unlink()


def test_a_sizable_map_is_made_as_asked_and_then_keeps_its_size(bpffs: Path) -> None:
    folder = bpffs / "store-sizes"
    small, large = MapSizes(connections=2048, services=1024), MapSizes(connections=4096)
    try:
        first = MapStore(folder, small)
        key, info = SlotKey(1, 0), SlotInfo(7, 1)
        first.slots.upsert({key: info})
        first.close()
        with capture_logs() as told:
            again = MapStore(folder, large)
        assert dict(again.slots.current) == {key: info}, "what programs use is not thrown away"
        sizes = {name: spec.max_entries for name, spec in again.sized().items()}
        assert sizes == {
            "cilium_ct_v1": 2048,
            "cilium_lb_services_v1": 1024,
            "cilium_lb_backends_v1": 1024,
            "cilium_lb_slots_v1": 4096,
        }
        assert {line["map"] for line in told} == set(sizes)
        assert {line["asked"] for line in told} == {4096, 65536, 262144}
        again.close()
        PinnedMap.open_or_create(CONNECTIONS, folder).close()  # as the loader does
    finally:
        shutil.rmtree(folder)


def test_unknown_pin_and_bad_descriptor(bpffs: Path) -> None:
    assert syscall.obj_get(bpffs / "nothing") is None
    with pytest.raises(KernelError, match="MAP_UPDATE_ELEM.*errno 9"):
        syscall.map_update(99999, b"k", b"v")


@pytest.mark.parametrize(("text", "cpus"), [("0\n", 1), ("0-3", 4), ("0-1,4-7", 8), ("0,2", 3)])
def test_possible_cpus(text: str, cpus: int) -> None:
    assert possible_cpus(text) == cpus
