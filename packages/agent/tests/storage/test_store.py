# SPDX-License-Identifier: Apache-2.0
"""The endpoint file: round trips, replacement, and files that cannot be read."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from cilium_agent.model import Endpoint, EndpointState
from cilium_agent.storage.rows import Given
from cilium_agent.storage.store import EndpointStore

ENDPOINT = Endpoint(
    endpoint_id=7,
    container_id="c1",
    interface="eth0",
    netns="/var/run/netns/x",
    pod_namespace="default",
    pod_name="web",
    pod_uid="u1",
    ipv4=IPv4Address("10.0.0.7"),
    ipv6=IPv6Address("fd00::7"),
    host_interface="lxc0123456789ab",
    host_ifindex=12,
    mac=bytes.fromhex("020000000001"),
    node_mac=bytes.fromhex("020000000002"),
    identity=1234,
    labels={"k8s:app": "web", "k8s:empty": ""},
    state=EndpointState.READY,
)


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT,
        replace(ENDPOINT, ipv6=None),
        replace(ENDPOINT, ipv4=None, labels={}, state=EndpointState.CREATING),
    ],
)
async def test_endpoints_come_back_as_they_were(tmp_path: Path, endpoint: Endpoint) -> None:
    store = await EndpointStore.open(tmp_path / "state" / "e.db")
    await store.put(endpoint)
    await store.close()
    again = await EndpointStore.open(tmp_path / "state" / "e.db")
    assert await again.load() == [endpoint]
    await again.close()


async def test_put_replaces_and_delete_forgets(tmp_path: Path) -> None:
    store = await EndpointStore.open(tmp_path / "e.db")
    await store.put(ENDPOINT)
    await store.put(replace(ENDPOINT, identity=9))
    assert await store.load() == [replace(ENDPOINT, identity=9)]
    await store.delete(ENDPOINT.host_interface)
    await store.delete(ENDPOINT.host_interface)
    assert await store.load() == []
    await store.close()


async def test_many_writers_at_once(tmp_path: Path) -> None:
    store = await EndpointStore.open(tmp_path / "e.db")
    many = [replace(ENDPOINT, endpoint_id=n, host_interface=f"lxc{n:012x}") for n in range(1, 60)]
    await asyncio.gather(*(store.put(endpoint) for endpoint in many))
    assert await store.load() == many
    await store.close()


async def test_a_row_is_on_disk_when_put_returns(tmp_path: Path) -> None:
    store = await EndpointStore.open(tmp_path / "e.db")
    await store.put(ENDPOINT)
    with sqlite3.connect(tmp_path / "e.db") as other:
        assert other.execute("select pod_name from endpoints").fetchall() == [("web",)]
    await store.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x00garbage" * 1000)


def _old_layout(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("create table endpoints (id integer)")


def _bad_address(path: Path) -> None:
    asyncio.run(_write(path))
    with sqlite3.connect(path) as db:
        db.execute("update endpoints set ipv4 = 'no address'")


def _cut_short(path: Path) -> None:
    asyncio.run(_write(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _bad_note(path: Path) -> None:
    asyncio.run(_write(path))
    with sqlite3.connect(path) as db:
        db.execute("insert into last_given values ('ipv4', 'no address')")


async def _write(path: Path) -> None:
    store = await EndpointStore.open(path)
    await store.put(ENDPOINT)
    await store.close()


@pytest.mark.parametrize("spoil", [_garbage, _old_layout, _bad_address, _cut_short, _bad_note])
def test_an_unreadable_file_is_moved_aside(tmp_path: Path, spoil) -> None:
    path = tmp_path / "e.db"
    spoil(path)

    async def check() -> None:
        store = await EndpointStore.open(path)
        assert await store.load() == []
        await store.put(ENDPOINT)
        await store.close()
        again = await EndpointStore.open(path)
        assert await again.load() == [ENDPOINT]
        await again.close()

    asyncio.run(check())
    assert (tmp_path / "e.db.corrupt-1").stat().st_size > 0


def _nothing(_path: Path) -> None:
    return None


def _empty(path: Path) -> None:
    path.touch()


def _only_the_log(path: Path) -> None:
    asyncio.run(_write(path))
    path.with_name("e.db-wal").write_bytes(b"\x37\x7f\x06\x82" * 1000)
    path.unlink()


def _of_another_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("create table something (id integer)")


@pytest.mark.parametrize("leave", [_nothing, _empty, _only_the_log, _of_another_table])
def test_a_file_without_rows_is_one_that_can_be_used(tmp_path: Path, leave) -> None:
    path = tmp_path / "e.db"
    leave(path)

    async def check() -> None:
        store = await EndpointStore.open(path)
        assert await store.load() == []
        assert await store.last_given() == Given()
        await store.put(ENDPOINT)
        await store.close()
        again = await EndpointStore.open(path)
        assert await again.load() == [ENDPOINT]
        await again.close()

    asyncio.run(check())
    assert not (tmp_path / "e.db.corrupt-1").exists()


def test_a_file_of_before_the_note_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    asyncio.run(_write(path))
    with sqlite3.connect(path) as db:
        db.execute("drop table last_given")

    async def check() -> None:
        store = await EndpointStore.open(path)
        assert await store.load() == [ENDPOINT]
        assert await store.last_given() == Given()
        await store.close()

    asyncio.run(check())


async def test_what_was_given_last_outlives_its_row(tmp_path: Path) -> None:
    store = await EndpointStore.open(tmp_path / "e.db")
    first = replace(ENDPOINT, state=EndpointState.CREATING)
    last = replace(
        first, host_interface="lxc2", endpoint_id=8, ipv4=IPv4Address("10.0.0.8"), ipv6=None
    )
    await store.put(first)
    await store.put(last)
    await store.put(replace(first, state=EndpointState.READY))
    await store.put(replace(first, state=EndpointState.DISCONNECTING))
    for name in (first.host_interface, last.host_interface):
        await store.delete(name)
    await store.close()
    again = await EndpointStore.open(tmp_path / "e.db")
    assert await again.load() == []
    assert await again.last_given() == Given(8, IPv4Address("10.0.0.8"), IPv6Address("fd00::7"))
    await again.close()
