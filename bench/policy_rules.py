# SPDX-License-Identifier: Apache-2.0
"""The rules that the policy benches enforce, as rows of the kernel's tables.

All of them allow one identity (the other pod) on one TCP port; one row in each direction is that of
the port that the load goes to. They are written to the tables directly: how an engine comes to
them is another bench's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.datapath_node import Bench
from cilium_agent.datapath.policy import KernelPolicy
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey, Step

PORT = 7777
_STRIDE = 642 + 1  # odd, so that ports do not repeat before 65 536
_PER_POLICY = 100
_ALLOW = Row(cells=(Cell(0, 1, 0, 0),))
Rows = Mapping[RowKey, Row]


def ports(count: int) -> list[int]:
    """Return so many different ports, the load's first."""
    return [(PORT + number * _STRIDE) % 65536 for number in range(count)]


def of_one_endpoint(count: int) -> Rows:
    """All rows in one policy, half of them in each direction: the deepest tree."""
    return _policy(1, count // 2)


def of_many_endpoints(count: int) -> Rows:
    """A hundred rows in each policy, one of which is the pods'."""
    rows: dict[RowKey, Row] = {}
    for number in range(max(1, count // _PER_POLICY)):
        rows.update(_policy(1 + number, min(count, _PER_POLICY) // 2))
    return rows


def _policy(number: int, each: int) -> dict[RowKey, Row]:
    rows = {RowKey(number, direction): Row() for direction in Direction}
    for direction in Direction:
        for port in ports(each):
            rows[RowKey(number, direction, Protocol.TCP, port, 16)] = _ALLOW
    return rows


ROW_SHAPES: Mapping[str, Callable[[int], Rows]] = {
    "100 rows a policy": of_many_endpoints,
    "all in one policy": of_one_endpoint,
}


class Switch:
    """Changes the rules that both pods enforce."""

    def __init__(self, bench: Bench) -> None:
        """Put policy 1 in force on both pods, without rows yet: everything is a drop."""
        self._policy = KernelPolicy(bench.store)
        identities = [endpoint.identity for endpoint in bench.endpoints]
        self._policy.apply([Step(bits={(identity, 0): 1 for identity in identities})])
        table = bench.store.endpoints
        table.upsert(
            {
                key: replace(row, policy=1, revision=1)
                for key, row in table.current.items()
                if row.identity in identities
            }
        )

    def to(self, rows: Rows) -> None:
        """Make these all the rows that there are."""
        gone = self._policy.tables.rows.keys() - rows.keys()
        self._policy.apply([Step(rows=rows), Step(rows=dict.fromkeys(gone))])
