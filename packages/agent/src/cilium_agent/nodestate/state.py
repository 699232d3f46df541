# SPDX-License-Identifier: Apache-2.0
"""Holds the facts and the changes that led to them, so that a consumer can go on where it was.

Every change gets the next revision and stays in a log of bounded length: a consumer within the log
gets each change in order, another one a snapshot. Values are immutable, so a snapshot is a list of
references. Event loop only; nothing here waits but `wait` and `opened`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Hashable, Iterable
from itertools import islice
from typing import NamedTuple

from cilium_agent.nodestate.facts import Fact, NodeFact

LOG_CHANGES = 1 << 12


class Change(NamedTuple):
    """A fact that holds from now on, or (`removed`) no longer does."""

    fact: Fact
    removed: bool = False


class NodeState:
    """The present facts. Closed until `open`: nobody is told of a state that is not complete."""

    def __init__(self, log_changes: int = LOG_CHANGES) -> None:
        """Start empty and closed, in a new epoch. `log_changes` bounds what can be resumed."""
        self.epoch = secrets.token_hex(8)
        self.revision = 0
        self._facts: dict[tuple[type[Fact], Hashable], Fact] = {}
        self._log: deque[Change] = deque(maxlen=log_changes)
        self._changed = asyncio.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        """Say that the facts are complete: endpoints restored, lists read. Twice is harmless."""
        self._open.set()

    async def opened(self) -> None:
        """Return once the state is open."""
        await self._open.wait()

    def put(self, *facts: Fact) -> None:
        """Add or replace; a fact that is known already is no change."""
        for fact in facts:
            key = (type(fact), fact.key)
            if self._facts.get(key) != fact:
                self._facts[key] = fact
                self._note(Change(fact))

    def remove(self, kind: type[Fact], *keys: Hashable) -> None:
        """Take facts back by key; one that is not there is no change. The node's stays."""
        for key in keys:
            fact = self._facts.get((kind, key))
            if fact is not None and not isinstance(fact, NodeFact):
                del self._facts[kind, key]
                self._note(Change(fact, removed=True))

    def replace(self, kind: type[Fact], facts: Iterable[Fact]) -> None:
        """Make these all facts of a kind: news are put first, then what is left over is removed."""
        wanted = {fact.key: fact for fact in facts}
        self.put(*wanted.values())
        held = [key for made, key in self._facts if made is kind]
        self.remove(kind, *(key for key in held if key not in wanted))

    def snapshot(self) -> tuple[int, list[Fact]]:
        """Return the revision and all facts."""
        return self.revision, list(self._facts.values())

    def since(self, revision: int) -> list[Change] | None:
        """Return the changes after a revision, in order; None when they are no longer known."""
        first = self.revision - len(self._log)
        if not first <= revision <= self.revision:
            return None
        return list(islice(self._log, revision - first, None))

    async def wait(self, revision: int) -> None:
        """Return when there is a change after this revision."""
        while self.revision <= revision:
            await self._changed.wait()

    def _note(self, change: Change) -> None:
        self.revision += 1
        self._log.append(change)
        self._changed.set()
        self._changed = asyncio.Event()
