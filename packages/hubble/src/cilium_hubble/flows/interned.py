# SPDX-License-Identifier: Apache-2.0
"""Numbers for immutable values, so that a row holds four bytes instead of names and labels.

A number stands for one value until `keep_only` leaves it out; then it may be given again. Owner:
the ingest; readers turn numbers into values in the same turn of the event loop in which they read
the rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Interned(Generic[T]):
    """Values by number. Number 0 is the value given at the start and stays."""

    def __init__(self, nothing: T) -> None:
        """Start with `nothing` under 0."""
        self._values: list[T] = [nothing]
        self._numbers: dict[T, int] = {nothing: 0}
        self._free: list[int] = []

    def __len__(self) -> int:
        """Return how many values are held."""
        return len(self._numbers)

    def __getitem__(self, number: int) -> T:
        """Return a number's value."""
        return self._values[number]

    def number(self, value: T) -> int:
        """Return the value's number, a new one when it has none."""
        known = self._numbers.get(value)
        if known is not None:
            return known
        if self._free:
            number = self._free.pop()
            self._values[number] = value
        else:
            number = len(self._values)
            self._values.append(value)
        self._numbers[value] = number
        return number

    def keep_only(self, numbers: Iterable[int]) -> int:
        """Forget all but 0 and `numbers`; return how many were forgotten."""
        kept = {0, *numbers}
        gone = [(value, number) for value, number in self._numbers.items() if number not in kept]
        for value, number in gone:
            del self._numbers[value]
            self._values[number] = self._values[0]
            self._free.append(number)
        return len(gone)
