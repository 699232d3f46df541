# SPDX-License-Identifier: Apache-2.0
"""Records that wait for hubble: a bounded number, and an exact count of those without room. Pure.

A batch stays until it is answered. It is sent again, the same, to a hubble that comes after the one
that it was sent to, so a record is shown at least once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from cilium_core.proto import access_pb2

CAPACITY = 16384
BATCH = 512
WINDOW = 4  # batches that may be unanswered


class Buffer:
    """Records in order, then batches with numbers."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Hold at most this many records, those in unanswered batches included."""
        self.lost_ever = 0
        self._capacity = capacity
        self._waiting: deque[access_pb2.Record] = deque()
        self._flying: deque[access_pb2.Batch] = deque()
        self._lost = 0
        self._number = 0
        self._held = 0

    def add(self, records: Iterable[access_pb2.Record]) -> None:
        """Keep records; the newest are lost when there is no room."""
        for record in records:
            if self._held < self._capacity:
                self._waiting.append(record)
                self._held += 1
            else:
                self._lost += 1
                self.lost_ever += 1

    def again(self) -> list[access_pb2.Batch]:
        """Return the unanswered batches, oldest first, for a new stream."""
        return list(self._flying)

    def batch(self) -> access_pb2.Batch | None:
        """Return the next batch, None when there is nothing to send or too much is unanswered."""
        if len(self._flying) >= WINDOW or not (self._waiting or self._lost):
            return None
        self._number += 1
        count = min(BATCH, len(self._waiting))
        records = [self._waiting.popleft() for _ in range(count)]
        batch = access_pb2.Batch(number=self._number, records=records, lost=self._lost)
        self._lost = 0
        self._flying.append(batch)
        return batch

    def taken(self, number: int) -> None:
        """Let go of the batches up to this number."""
        while self._flying and self._flying[0].number <= number:
            self._held -= len(self._flying.popleft().records)
