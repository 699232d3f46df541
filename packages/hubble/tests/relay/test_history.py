# SPDX-License-Identifier: Apache-2.0
"""Relay over nodes whose flows left memory long ago: the same order, the same numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from history_model import running
from hubble_fakes import trace
from relay_fakes import Cluster, cluster

from cilium_core.proto import observer_pb2 as pb

pytestmark = pytest.mark.timeout(30)
FLOWS = 12_000  # of both nodes: each keeps 4095 in memory


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Two nodes, one of another make; times interleave: a has the even ones, b the odd."""
    async with cluster() as made, AsyncExitStack() as exits:
        for index, name in enumerate("ab"):
            node = await made.add(name, batched=not index)
            path = tmp_path / name / "flows.db"
            history = await exits.enter_async_context(running(path, node.hubble))
            node.observer._history = history
            numbers = range(index, FLOWS, 2)
            node.hubble.add(*(trace(sport=n, time=1000 + n) for n in numbers))
            await history.settle()
        yield made


async def test_since_until_first_and_last_reach_every_nodes_history(two: Cluster) -> None:
    since, until = pb.GetFlowsRequest().since, pb.GetFlowsRequest().until
    since.FromNanoseconds(1010)
    until.FromNanoseconds(1029)
    assert await two.ports(since=since, until=until) == list(range(10, 30))
    assert await two.ports(since=since, number=7, first=True) == list(range(10, 17))
    assert await two.ports(number=7, first=True) == list(range(7))
    assert await two.ports(number=5, until=until) == list(range(25, 30))
    assert await two.ports(number=5) == list(range(FLOWS - 5, FLOWS))


async def test_all_of_it_in_order(two: Cluster) -> None:
    since = pb.GetFlowsRequest().since
    since.FromNanoseconds(1)
    assert await two.ports(since=since) == list(range(FLOWS))
    assert two.relay.late == 0
