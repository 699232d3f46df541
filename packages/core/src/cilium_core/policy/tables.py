# SPDX-License-Identifier: Apache-2.0
"""The kernel's policy tables as plain values: what the engine wants, what a map holds.

Names here are the engine's; `cilium_core.layouts.policy` has the bytes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cilium_core.policy.rules import Direction, Protocol


class RowKey(NamedTuple):
    """A prefix of (policy, direction, protocol, port), as the longest-prefix map has it.

    `port_bits` 0-16 leading bits of `port` count (the rest are zero). Protocol ANY has 0 bits and
    is the row of every protocol that has none of its own.
    """

    policy: int
    direction: Direction
    protocol: int = Protocol.ANY
    port: int = 0
    port_bits: int = 0


class Cell(NamedTuple):
    """One word of peer-set bits on a row."""

    word: int
    allow: int
    deny: int
    l7: int


class Row(NamedTuple):
    """What a row decides; cells sorted by word, none empty.

    On a row that is `known_only` whom no cell names is not known yet: that is why it is dropped.
    """

    any_allow: bool = False
    any_deny: bool = False
    any_l7: bool = False
    cells: tuple[Cell, ...] = ()
    known_only: bool = False


@dataclass(slots=True)
class Tables:
    """All that the kernel needs to judge: rows, and the peer-set bits of each identity.

    `bits` maps (identity, word) to a 64-bit number, never 0.
    """

    rows: dict[RowKey, Row] = field(default_factory=dict)
    bits: dict[tuple[int, int], int] = field(default_factory=dict)


class Step(NamedTuple):
    """One batch of writes. Batches run in order; inside one, rows are written in the given order.

    A step holds rows or bits, never both. A value of None deletes.
    """

    rows: Mapping[RowKey, Row | None] = {}
    bits: Mapping[tuple[int, int], int | None] = {}
