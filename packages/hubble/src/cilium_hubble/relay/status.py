# SPDX-License-Identifier: Apache-2.0
"""What happens to nodes, as events in the stream of flows: gathered for a moment, then told.

Many nodes that come or go at once are one event; the same error of many nodes too. Event loop only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from cilium_core.proto import observer_pb2 as pb
from cilium_core.proto import relay_pb2

WINDOW_SECONDS = 0.5
ERROR_WINDOW_SECONDS = 10.0
_Kind = tuple[int, str]  # state and message


class Statuses:
    """Events that wait to be told. `first` are the nodes that were there at the start."""

    def __init__(self, relay: str) -> None:
        """`relay` is the name that events carry."""
        self.first: frozenset[str] = frozenset()
        self._relay = relay
        self._gathered: dict[_Kind, set[str]] = {}
        self._due: dict[_Kind, float] = {}

    def now(self, state: relay_pb2.NodeState, names: Iterable[str]) -> None:
        """Tell at once how nodes are at the start."""
        found = set(names)
        if state == relay_pb2.NODE_CONNECTED:
            self.first = frozenset(found)
        self._gather((state, ""), found, 0.0)

    def add(self, state: relay_pb2.NodeState, names: Iterable[str]) -> None:
        """Tell soon that nodes have come to a state."""
        self._gather((state, ""), set(names), WINDOW_SECONDS)

    def error(self, names: Iterable[str], message: str) -> None:
        """Tell of an error, with others of its kind."""
        self._gather((relay_pb2.NODE_ERROR, message), set(names), ERROR_WINDOW_SECONDS)

    def due(self) -> float | None:
        """Return when there is something to tell (monotonic seconds), None for nothing."""
        return min(self._due.values(), default=None)

    def take(self, *, everything: bool = False) -> list[bytes]:
        """Return the events that are due, serialised."""
        clock, wall = time.monotonic(), time.time_ns()
        told = [kind for kind, at in self._due.items() if everything or at <= clock]
        return [self._event(kind, wall) for kind in told]

    def _gather(self, kind: _Kind, names: set[str], window: float) -> None:
        if names:
            self._gathered.setdefault(kind, set()).update(names)
            self._due.setdefault(kind, time.monotonic() + window)

    def _event(self, kind: _Kind, wall: int) -> bytes:
        state, message = kind
        del self._due[kind]
        event = pb.GetFlowsResponse(node_name=self._relay)
        event.time.FromNanoseconds(wall)
        event.node_status.state_change = state  # type: ignore[assignment]
        event.node_status.node_names.extend(sorted(self._gathered.pop(kind)))
        event.node_status.message = message
        return event.SerializeToString()
