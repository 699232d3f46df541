# SPDX-License-Identifier: Apache-2.0
"""The order of writes in which no half-way state lets through what it should not.

After every single write holds, for each packet (policy, direction, protocol, port, identity):
*closed*: it is allowed only if the old or the new tables allow it; *open*: if both allow it, it is
allowed. The one exception to *open* is a packet of an identity that appears, goes or changes its
labels in the very batch that also changes rows: it may be dropped until the batch is through.

Why this order. A row decides alone, so rows need care only among themselves: written longest
prefix first, a packet goes on finding its old row until its new one is there; stale ones deleted
shortest first, it finds its old row until that goes. Bits act through every row that uses them.
An identity gains deny bits, then L7, then allow, and loses them the other way round, so that it is
never without the bits that hold it back. Before the rows change it must not gain what only the old
rows allow, nor keep what only the new ones do. What a number means is the same in both tables (see
`numbers`), so bits of new peer sets are without effect until rows use them. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from cilium_core.policy.bits import Role, role_of
from cilium_core.policy.decide import covering
from cilium_core.policy.rules import Protocol
from cilium_core.policy.tables import Row, RowKey, Step, Tables

BitsAt = tuple[int, int]
RowWrites = Mapping[RowKey, Row | None]
BitWrites = Mapping[BitsAt, int | None]


def difference(held: Tables, desired: Tables) -> tuple[RowWrites, BitWrites]:
    """Return what must be written over the first tables to make them the second."""
    rows: dict[RowKey, Row | None] = {
        key: row for key, row in desired.rows.items() if held.rows.get(key) != row
    }
    rows.update(dict.fromkeys(held.rows.keys() - desired.rows.keys()))
    bits: dict[BitsAt, int | None] = {
        at: mask for at, mask in desired.bits.items() if held.bits.get(at) != mask
    }
    bits.update(dict.fromkeys(held.bits.keys() - desired.bits.keys()))
    return rows, bits


def apply(tables: Tables, step: Step) -> None:
    """Do a step's writes on tables held in memory."""
    for key, row in step.rows.items():
        if row is None:
            tables.rows.pop(key, None)
        else:
            tables.rows[key] = row
    for at, mask in step.bits.items():
        if mask is None:
            tables.bits.pop(at, None)
        else:
            tables.bits[at] = mask


def plan(held: Tables, rows: RowWrites, bits: BitWrites) -> list[Step]:
    """Order the writes that make `held` what is desired; those that change nothing are left out."""
    rows = {key: row for key, row in rows.items() if held.rows.get(key) != row}
    old_allow, new_allow = _allowing(held.rows, rows)
    words = _Words(held, bits)
    steps = [
        *(words.step(role, lambda at, now, want: now | want) for role in (Role.DENY, Role.L7)),
        words.step(Role.ALLOW, lambda at, now, want: now | want & ~old_allow[at[1]]),
        words.step(Role.ALLOW, lambda at, now, want: now & (want | ~new_allow[at[1]])),
        *_row_steps(held.rows, rows),
        *(words.step(role, lambda at, now, want: want) for role in _LOSING),
    ]
    return [step for step in steps if step.rows or step.bits]


_LOSING = (Role.ALLOW, Role.L7, Role.DENY)


class _Words:
    """The words of bits that a plan writes, as they are after the steps made so far."""

    def __init__(self, held: Tables, bits: BitWrites) -> None:
        self._now: dict[Role, dict[BitsAt, int]] = {role: {} for role in Role}
        self._want = {at: mask or 0 for at, mask in bits.items()}
        for at, want in self._want.items():
            if (now := held.bits.get(at, 0)) != want:
                self._now[role_of(at[1])][at] = now

    def step(self, role: Role, change: Callable[[BitsAt, int, int], int]) -> Step:
        """Return the writes that `change` (of place, present and wanted bits) makes of a role."""
        words = self._now[role]
        written: dict[BitsAt, int | None] = {}
        for at, now in words.items():
            mask = change(at, now, self._want[at])
            if mask != now:
                words[at] = mask
                written[at] = mask or None
        return Step(bits=written)


def _row_steps(held: Mapping[RowKey, Row], rows: RowWrites) -> Iterable[Step]:
    written = sorted((key for key, row in rows.items() if row is not None), key=_length)
    deleted = sorted((key for key, row in rows.items() if row is None), key=_length)
    yield Step(rows={key: rows[key] for key in reversed(written)})
    yield Step(rows=dict.fromkeys(deleted))


def _length(key: RowKey) -> int:
    return 0 if key.protocol == Protocol.ANY else 1 + key.port_bits


def _allowing(
    held: Mapping[RowKey, Row], rows: RowWrites
) -> tuple[defaultdict[int, int], defaultdict[int, int]]:
    """Return the allow bits by word that act, before and after, on the ports whose rows change."""
    before: defaultdict[int, int] = defaultdict(int)
    after: defaultdict[int, int] = defaultdict(int)

    def new(key: RowKey) -> Row | None:
        return rows[key] if key in rows else held.get(key)

    for key in rows:
        for found, masks in ((held.get, before), (new, after)):
            row = next((row for at in covering(key) if (row := found(at)) is not None), Row())
            for cell in row.cells:
                masks[cell.word] |= cell.allow
    return before, after
