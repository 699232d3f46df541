# SPDX-License-Identifier: Apache-2.0
"""The kernel's ipcache follows the fold, full or not."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.datapath.errors import KernelError
from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.ipcache.writer import IpcacheWriter, key_of
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey


class BoundedTable:
    """A map that takes rows until there is no room."""

    def __init__(self, room: int = 99) -> None:
        self.rows: dict[IpcacheKey, IpcacheInfo] = {}
        self.room = room

    @property
    def current(self) -> Mapping[IpcacheKey, IpcacheInfo]:
        return self.rows

    def upsert(self, rows: Mapping[IpcacheKey, IpcacheInfo]) -> None:
        for key, row in rows.items():
            if key not in self.rows and len(self.rows) >= self.room:
                raise KernelError("map_update", errno.ENOSPC, "no room")
            self.rows[key] = row

    def delete(self, keys: Iterable[IpcacheKey]) -> None:
        for key in list(keys):
            self.rows.pop(key, None)


def put(writer: IpcacheWriter, host: int, identity: int | None) -> None:
    prefix = ip_network(IPv4Address("10.0.1.0") + host)
    rows = {prefix: Metadata(Source.POD, identity)} if identity else {}
    writer.fold.put(f"cep/{host}", rows)


CHANGES = st.lists(st.tuples(st.integers(1, 6), st.none() | st.integers(300, 302)), max_size=15)


@given(CHANGES, st.integers(0, 6), st.booleans())
def test_once_there_is_room_the_map_is_what_is_said(
    changes: list[tuple[int, int | None]], room: int, pruned: bool
) -> None:
    table = BoundedTable(room)
    writer = IpcacheWriter(table, lambda _raw: False)
    stale = key_of(ip_network("10.9.0.0/24"))
    table.rows[stale] = IpcacheInfo(7)
    if pruned:
        writer.prune()
    said: dict[int, int] = {}
    for host, identity in changes:
        put(writer, host, identity)
        said[host] = identity or 0
        with contextlib.suppress(KernelError):
            writer.flush()
        assert len(table.rows) <= max(room, 1)
    table.room = 99
    writer.prune()
    expected = {
        key_of(ip_network(IPv4Address("10.0.1.0") + host)): identity
        for host, identity in said.items()
        if identity
    }
    assert {key: row.identity for key, row in table.rows.items()} == expected


def test_a_refused_prune_has_removed_what_is_stale() -> None:
    table = BoundedTable(1)
    writer = IpcacheWriter(table, lambda _raw: False)
    table.rows[key_of(ip_network("10.9.0.0/24"))] = IpcacheInfo(7)
    put(writer, 1, 300)
    with pytest.raises(KernelError):
        writer.prune()
    writer.flush()
    assert [row.identity for row in table.rows.values()] == [300]
