# SPDX-License-Identifier: Apache-2.0
"""A stretch of stored rows with their numbers, and the tables that give numbers a meaning. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.model import Node, Origin, Party, ServiceName

Mask = NDArray[np.bool_]
T_co = TypeVar("T_co", covariant=True)


class Table(Protocol[T_co]):
    """Values by number; 0 is nobody or nothing."""

    def __getitem__(self, number: int, /) -> T_co: ...


class Texts(Protocol):
    """Requests' texts by number."""

    def get(self, number: int, /) -> bytes | None: ...


class Names(NamedTuple):
    """What the numbers in rows stand for at this moment."""

    parties: Table[Party]
    services: Table[ServiceName]
    origins: Table[tuple[Origin, ...]]
    ids: FlowIds
    link: Callable[[int], str]
    node: Callable[[], Node]
    payloads: Texts
    fqdns: Table[tuple[str, ...]]


class Chunk(NamedTuple):
    """Copied rows and their sequence numbers; used up before the event loop turns."""

    rows: Rows
    sequences: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Rows, first: int) -> Chunk:
        """Number rows from `first` on."""
        return cls(rows, np.arange(first, first + len(rows), dtype="i8"))

    def where(self, mask: NDArray[Any] | slice) -> Chunk:
        """Return the rows that a mask or a slice chooses."""
        return Chunk(self.rows[mask], self.sequences[mask])

    def in_order(self) -> Chunk:
        """Return the rows sorted by time; equal times stay as they are."""
        times = self.rows["time"]
        if len(times) < 2 or bool((times[1:] >= times[:-1]).all()):
            return self
        return self.where(np.argsort(times, kind="stable"))

    def __len__(self) -> int:
        """Return the number of rows, not of fields."""
        return len(self.rows)
