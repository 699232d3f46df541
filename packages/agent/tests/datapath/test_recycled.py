# SPDX-License-Identifier: Apache-2.0
"""Values that say another key than the one asked for: none is believed, and nothing opens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from datapath_packets import IN, OUT, Talk, allow_all, tcp

from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointKey
from cilium_core.layouts.policy import BitsInfo, BitsKey, ListKey
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey

pytestmark = pytest.mark.root

POD, PEER = 7, 8
PEER_IDENTITY = 1002


@pytest.fixture(params=[4, 6])
def talk(kernel, worlds, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel, request.param, worlds[request.param])


def disguise(talk: Talk, name: str) -> None:
    """Let the row of one address say that it is of another."""
    table = talk.kernel.store.endpoints
    key = EndpointKey(pack_address(talk.world[name]))
    other = pack_address(talk.world["remote"])
    table.upsert({key: replace(table.current[key], addr=other)})


def test_a_senders_row(talk: Talk) -> None:
    disguise(talk, "pod")
    assert talk.pod(tcp()).reasons == {(132, OUT)}


def test_a_receivers_row(talk: Talk) -> None:
    """It is no endpoint then: the stack has the packet, which brings it back to us."""
    disguise(talk, "peer")
    outcome = talk.pod(tcp())
    assert (outcome.verdict, outcome.reasons) == (0, {(0, OUT)})


@pytest.mark.parametrize("said", [(PEER_IDENTITY + 1, 0), (PEER_IDENTITY, 1)])
def test_an_identitys_bits(talk: Talk, said: tuple[int, int]) -> None:
    """Neither its allows count nor can its denies be missed."""
    kernel = talk.kernel
    kernel.enforce(POD, 1)
    kernel.rows({RowKey(1, Direction.EGRESS): Row(any_allow=True, cells=(Cell(0, 1, 2, 0),))})
    key = BitsKey(PEER_IDENTITY, 0)
    kernel.store.policy_bits.update_many({key: BitsInfo(*said, 1)})
    assert talk.pod(tcp()).reasons == {(133, OUT)}
    kernel.store.policy_bits.update_many({key: BitsInfo(PEER_IDENTITY, 0, 1)})
    assert talk.pod(tcp()).reasons == {(0, OUT)}
    kernel.store.policy_bits.delete_many([key])


@pytest.mark.parametrize("change", ["absent", "list_id", "index"])
def test_an_overflow_list(talk: Talk, change: str) -> None:
    kernel = talk.kernel
    kernel.enforce(PEER, 1)
    cells = tuple(Cell(word, 1, 0, 0) for word in range(7))
    kernel.rows({RowKey(1, Direction.INGRESS): Row(any_allow=True, cells=cells)})
    assert talk.pod(tcp(4000)).reasons == {(0, OUT)}
    lists = kernel.store.policy_lists
    ((_, row),) = kernel.store.policy_rows.items()
    key = ListKey(row.list_id, 1)
    info = lists.lookup(key)
    if change == "absent":
        lists.delete_many([key])
    else:
        lists.update_many({key: replace(info, **{change: 99})})
    assert talk.pod(tcp(4001)).reasons == {(133, IN)}
    lists.update_many({key: info})
    assert talk.pod(tcp(4001)).reasons == {(0, OUT)}


def test_a_row_with_an_impossible_count(talk: Talk) -> None:
    kernel = talk.kernel
    kernel.enforce(POD, 1)
    kernel.rows(allow_all(1))
    rows = kernel.store.policy_rows
    ((key, info),) = [item for item in rows.items() if item[0].direction == OUT]
    rows.update_many({key: replace(info, count=133)})
    assert talk.pod(tcp()).reasons == {(133, OUT)}
    rows.update_many({key: info})
