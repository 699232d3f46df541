# SPDX-License-Identifier: Apache-2.0
"""The connection table from Python: collection, purge, listing, and the clock that they share."""

from __future__ import annotations

import pytest
from datapath_packets import OUT, Talk, tcp, udp

from cilium_agent.datapath import conntrack
from cilium_agent.datapath.conntrack import Collected, collect, listing, next_interval, now, purge
from cilium_core.addresses import pack_address
from cilium_core.layouts.policy import ConnectionInfo, ConnectionKey

pytestmark = pytest.mark.root

A, B, C = (pack_address(f"10.0.0.{n}") for n in (10, 11, 12))


def key(number: int, local: bytes = A, peer: bytes = B) -> ConnectionKey:
    return ConnectionKey(local, peer, number, 80, 6, OUT)


def info(expires: int) -> ConnectionInfo:
    return ConnectionInfo(expires, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0)


def test_only_what_is_over_is_collected(kernel) -> None:
    table, moment = kernel.store.connections, now()
    over = {key(n): info(moment - n % 3) for n in range(5000)}
    alive = {key(n, peer=C): info(moment + 10 + n) for n in range(50)}
    table.update_many({**over, **alive})
    assert collect(table) == Collected(5050, 5000)
    assert dict(table.items()) == alive
    assert dict(listing(table)) == alive
    assert collect(table) == Collected(50, 0)


def test_a_connection_that_began_anew_meanwhile_stays(
    kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = kernel.store.connections
    table.update_many({key(1): info(now() - 5), key(2): info(now() - 5)})
    batches = list(table.batches())
    monkeypatch.setattr(table, "batches", lambda: iter(batches))
    table.update_many({key(1): info(now() + 60)})
    assert collect(table) == Collected(2, 1)
    assert table.lookup(key(1)) is not None
    assert table.lookup(key(2)) is None


def test_purge_takes_an_address_on_either_side(kernel) -> None:
    table = kernel.store.connections
    rows = {key(1, A, B): info(now() + 9), key(2, B, A): info(now() + 9), key(3, B, C): info(0)}
    table.update_many(rows)
    assert purge(table, {A}) == 2
    assert set(kernel.connections()) == {key(3, B, C)}
    assert purge(table, set()) == 0
    assert purge(table, {pack_address("fd00::1"), C}) == 1


def test_the_listing_leaves_out_what_is_over(kernel) -> None:
    kernel.store.connections.update_many({key(1): info(now() - 1), key(2): info(now() + 9)})
    assert [found.local_port for found, _ in listing(kernel.store.connections)] == [2]


def test_programs_and_python_share_a_clock(kernel, worlds) -> None:
    talk = Talk(kernel, 4, worlds[4])
    talk.pod(udp())
    assert abs(talk.entry("pod", OUT).expires - 60 - now()) <= 1
    talk.pod(tcp())
    assert collect(kernel.store.connections) == Collected(4, 0)


@pytest.mark.parametrize(
    ("last", "seen", "removed", "expected"),
    [
        (300, 100, 50, 150),
        (300, 100, 99, pytest.approx(30)),
        (12, 100, 90, conntrack.SHORTEST_INTERVAL),
        (300, 100, 10, 300),
        (300, 100, 1, 450),
        (300, 0, 0, 450),
        (40000, 100, 0, conntrack.LONGEST_INTERVAL),
    ],
)
def test_the_interval_follows_what_was_found(
    last: float, seen: int, removed: int, expected: float
) -> None:
    assert next_interval(last, Collected(seen, removed)) == expected
