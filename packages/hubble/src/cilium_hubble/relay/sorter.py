# SPDX-License-Identifier: Apache-2.0
"""Merges streams that are each in order of time, without looking into what they carry. Pure.

A lane is one node's stream. What every open lane is known to have passed can go out, sorted; a lane
that is quiet tells how far it is complete. What has waited for the others longer than `patience`
goes out all the same, so that one slow node or one clock that lags holds nobody up. Work is by
columns: sorting costs the same few array operations for ten flows and for ten thousand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
_NEVER = np.iinfo(np.int64).max


class Piece(NamedTuple):
    """Some responses and what each is sorted by."""

    times: Times
    responses: list[bytes]

    def __len__(self) -> int:
        """Return the number of responses, not of fields."""
        return len(self.responses)


NOTHING = Piece(np.zeros(0, "i8"), [])


class _Waiting(NamedTuple):
    arrived: float
    piece: Piece


@dataclass
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    held: int = 0
    complete_to: int = 0
    closed: bool = False


class Sorter:
    """Lanes that are open or still hold something. `late` counts what went out of order."""

    def __init__(self, patience: float) -> None:
        """`patience` is in seconds of the caller's clock."""
        self._patience = patience
        self._lanes: dict[Hashable, _Lane] = {}
        self._told = 0
        self.late = 0

    def open(self, lane: Hashable, complete_to: int = 0) -> None:
        """Expect responses in a lane; what it still holds of an earlier stream stays."""
        opened = self._lanes.setdefault(lane, _Lane())
        opened.closed, opened.complete_to = False, complete_to

    def put(self, lane: Hashable, piece: Piece, complete_to: int, now: float) -> None:
        """Add to an open lane; its times do not go back."""
        into = self._lanes[lane]
        if len(piece):
            into.waiting.append(_Waiting(now, piece))
            into.held += len(piece)
            complete_to = max(complete_to, int(piece.times[-1]))
        into.complete_to = max(into.complete_to, complete_to)

    def close(self, lane: Hashable) -> None:
        """Expect nothing more in a lane: nobody waits for it."""
        closing = self._lanes.get(lane)
        if closing is not None:
            closing.closed = True
            self._drop_empty()

    def held(self, lane: Hashable) -> int:
        """Return how many responses of a lane wait."""
        found = self._lanes.get(lane)
        return found.held if found is not None else 0

    @property
    def empty(self) -> bool:
        """Whether no lane is open and nothing waits."""
        return not self._lanes

    def due(self) -> float | None:
        """Return when something will have waited for too long, None when nothing waits."""
        heads = [lane.waiting[0].arrived for lane in self._lanes.values() if lane.waiting]
        return min(heads) + self._patience if heads else None

    def take(self, now: float) -> Piece:
        """Return, in order, all that can go out."""
        low = self._low(now)
        pieces = [piece for lane in self._lanes.values() for piece in self._cut(lane, low)]
        if not pieces:
            return NOTHING
        self._drop_empty()
        merged = _merged(pieces)
        self.late += int(np.count_nonzero(merged.times < self._told))
        self._told = max(self._told, int(merged.times[-1]))
        return merged

    def _low(self, now: float) -> int:
        """Return the time up to which responses go out."""
        opened = [lane for lane in self._lanes.values() if not lane.closed]
        low = min((lane.complete_to for lane in opened), default=_NEVER)
        overdue = now - self._patience
        for lane in self._lanes.values():
            for waiting in lane.waiting:
                if waiting.arrived > overdue:
                    break
                low = max(low, int(waiting.piece.times[-1]))
        return low

    def _cut(self, lane: _Lane, low: int) -> list[Piece]:
        """Take what is not after `low` out of a lane."""
        found = []
        while lane.waiting:
            arrived, piece = lane.waiting[0]
            if int(piece.times[-1]) > low:
                count = int(np.searchsorted(piece.times, low, side="right"))
                if count:
                    found.append(Piece(piece.times[:count], piece.responses[:count]))
                    rest = Piece(piece.times[count:], piece.responses[count:])
                    lane.waiting[0] = _Waiting(arrived, rest)
                break
            found.append(lane.waiting.popleft().piece)
        lane.held -= sum(map(len, found))
        return found

    def _drop_empty(self) -> None:
        for name in [n for n, lane in self._lanes.items() if lane.closed and not lane.waiting]:
            del self._lanes[name]


def _merged(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    times = np.concatenate([piece.times for piece in pieces])
    responses = [response for piece in pieces for response in piece.responses]
    order = np.argsort(times, kind="stable")  # equal times stay in the order of their lane
    return Piece(times[order], list(itemgetter(*order.tolist())(responses)))
