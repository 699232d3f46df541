# SPDX-License-Identifier: Apache-2.0
"""Folds the agent's updates into the rule sets that hold now. Pure.

A snapshot counts only once it is complete: half of one, from an agent that died, removes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cilium_core.proto import proxy_pb2 as pb


@dataclass(frozen=True, slots=True)
class Change:
    """What differs after an update: sets that are new or other than before, and those that go."""

    changed: tuple[pb.RuleSet, ...] = ()
    removed: tuple[pb.RuleSet, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything differs."""
        return bool(self.changed or self.removed)


class Held:
    """Rule sets by port. `known` turns true with the first whole state and stays so."""

    def __init__(self, sets: Iterable[pb.RuleSet] | None = None) -> None:
        """Start with the sets of an earlier run, or with nothing known."""
        self._sets = {entry.port: entry for entry in sets or ()}
        self._pieces: dict[int, pb.RuleSet] = {}
        self.known = sets is not None

    @property
    def sets(self) -> Mapping[int, pb.RuleSet]:
        """Return what holds now, by port."""
        return self._sets

    def begin(self) -> None:
        """Forget the pieces of a snapshot that did not become whole."""
        self._pieces = {}

    def fold(self, update: pb.Update) -> Change | None:
        """Take an update in; return what it changes, None while a snapshot is in pieces."""
        if not update.snapshot:
            return self._put(update.rule_sets)
        self._pieces.update({entry.port: entry for entry in update.rule_sets})
        if not update.complete:
            return None
        new, self._pieces = self._pieces, {}
        gone = tuple(entry for port, entry in self._sets.items() if port not in new)
        for entry in gone:
            del self._sets[entry.port]
        self.known = True
        change = self._put(new.values())
        return Change(change.changed, gone + change.removed)

    def _put(self, sets: Iterable[pb.RuleSet]) -> Change:
        changed: list[pb.RuleSet] = []
        removed: list[pb.RuleSet] = []
        for entry in {entry.port: entry for entry in sets}.values():  # the last one counts
            if entry.removed:
                if self._sets.pop(entry.port, None) is not None:
                    removed.append(entry)
            elif entry != self._sets.get(entry.port):
                self._sets[entry.port] = entry
                changed.append(entry)
        return Change(tuple(changed), tuple(removed))
