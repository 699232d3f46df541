# SPDX-License-Identifier: Apache-2.0
"""What one field of a FlowFilter asks of a chunk: masks over columns, or over names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import numpy as np

from cilium_hubble.flows.chunk import Chunk, Mask, Table

Check = Callable[[Chunk], Mask]
T = TypeVar("T", bound=Hashable)
_REMEMBERED = 1 << 14


def column_in(column: str, values: Iterable[int]) -> Check:
    """Return a check that a column's value is one of these."""
    wanted = sorted(set(values))
    return lambda chunk: np.isin(chunk.rows[column], wanted)


def interned(column: str, table: Table[T], wanted: Callable[[T], bool]) -> Check:
    """Return a check of the value that a column's number stands for.

    `wanted` is asked once a value: numbers may be given again, values do not change.
    """
    answers: dict[T, bool] = {}

    def check(chunk: Chunk) -> Mask:
        numbers, places = np.unique(chunk.rows[column], return_inverse=True)
        if len(answers) > _REMEMBERED:
            answers.clear()
        found = np.empty(len(numbers), bool)
        for index, number in enumerate(numbers.tolist()):
            value = table[number]
            if value not in answers:
                answers[value] = wanted(value)
            found[index] = answers[value]
        return found[places]

    return check


def constant(value: Callable[[], bool]) -> Check:
    """Return a check that holds for all rows or none."""
    return lambda chunk: np.full(len(chunk), value())


def every(checks: Iterable[Check]) -> Check:
    """Return a check that all hold."""
    parts = list(checks)

    def check(chunk: Chunk) -> Mask:
        mask = np.ones(len(chunk), bool)
        for part in parts:
            mask &= part(chunk)
        return mask

    return check


def anyone(checks: Iterable[Check]) -> Check:
    """Return a check that one holds."""
    parts = list(checks)

    def check(chunk: Chunk) -> Mask:
        mask = np.zeros(len(chunk), bool)
        for part in parts:
            mask |= part(chunk)
        return mask

    return check
