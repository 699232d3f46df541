# SPDX-License-Identifier: Apache-2.0
"""A stretch of stored rows with their numbers, and the tables that give numbers a meaning. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.interned import Interned
from cilium_hubble.flows.payloads import Payloads
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.model import Node, Origin, Party, ServiceName

Mask = NDArray[np.bool_]


class Names(NamedTuple):
    """What the numbers in rows stand for at this moment."""

    parties: Interned[Party]
    services: Interned[ServiceName]
    origins: Interned[tuple[Origin, ...]]
    ids: FlowIds
    link: Callable[[int], str]
    node: Callable[[], Node]
    payloads: Payloads
    fqdns: Interned[tuple[str, ...]]


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
