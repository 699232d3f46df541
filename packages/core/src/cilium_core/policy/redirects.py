# SPDX-License-Identifier: Apache-2.0
"""Which application rules a connection meets: of each row that leads anywhere, for each peer.

A rule set is what the L7 rules of a row say together of one peer; its name does not change when the
rules' own contents do, so that an edit needs no connection to end. What everyone has is kept under
identity 0, others only where theirs differs: who finds nothing of their own takes that. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from cilium_core.policy.numbers import digest
from cilium_core.policy.rules import Direction, L7Kind, PeerSet, Rule
from cilium_core.policy.tables import RowKey

ANYBODY = 0


class Claim(NamedTuple):
    """What one entry says on a row: who, and the L7 rule that they meet (None: all is allowed)."""

    peers: PeerSet | None
    rule: Rule | None


@dataclass(frozen=True)
class RuleSet:
    """L7 rules that govern together; with `everything` a plain rule beside them allows it all."""

    direction: Direction
    rules: frozenset[Rule]
    everything: bool

    @cached_property
    def kind(self) -> L7Kind | None:
        """What all the rules speak; None for rules of several kinds, which no proxy can apply."""
        kinds = {rule.l7.kind for rule in self.rules if rule.l7 is not None}
        return kinds.pop() if len(kinds) == 1 else None

    @cached_property
    def name(self) -> str:
        """Return what stands for it in any process: whose rules, on which ports of theirs."""
        rules = sorted(
            f"{rule.origin} {rule.l7.kind} " + ",".join(sorted(map(repr, rule.ports)))
            for rule in self.rules
            if rule.l7 is not None
        )
        return "\n".join((self.direction.name, str(self.everything), *rules))

    @cached_property
    def digest(self) -> bytes:
        """Return the 128-bit form of `name`."""
        return digest(self.name)


At = tuple[RowKey, int]  # a row and an identity
Claims = tuple[Direction, frozenset[Claim]]
Labels = Mapping[str, str]


class _Governed:
    """All peers' rule sets under one set of claims, and the rows that make them."""

    def __init__(self, claims: Claims) -> None:
        self._direction, self._claims = claims
        self.rows: set[RowKey] = set()
        self.sets: dict[int, RuleSet] = {}
        self._made: dict[frozenset[Claim], RuleSet] = {}
        self._all = frozenset(claim for claim in self._claims if claim.peers is None)
        self.peers = {claim.peers for claim in self._claims if claim.peers is not None}
        if base := self._set_of(self._all):
            self.sets[ANYBODY] = base

    def judge(self, identity: int, labels: Labels | None) -> bool:
        """Work out one identity's; tell whether it changed."""
        mine = self._all
        if labels is not None:
            matching = {peers for peers in self.peers if peers.matches(labels)}
            mine = mine.union(claim for claim in self._claims if claim.peers in matching)
        found = self._set_of(mine)
        if found == self.sets.get(ANYBODY):
            found = None
        old = self.sets.get(identity)
        if found is None:
            self.sets.pop(identity, None)
        else:
            self.sets[identity] = found
        return found != old

    def _set_of(self, claims: frozenset[Claim]) -> RuleSet | None:
        if claims not in self._made:
            rules = frozenset(claim.rule for claim in claims if claim.rule is not None)
            everything = any(claim.rule is None for claim in claims)
            self._made[claims] = RuleSet(self._direction, rules, everything)
        found = self._made[claims]
        return found if found.rules else None


class Redirects:
    """The table {row, identity} to rule set, kept in step with rows and identities."""

    def __init__(
        self,
        members: Callable[[PeerSet], Iterable[int]],
        labels: Callable[[int], Labels | None],
    ) -> None:
        """`members` gives the identities of a peer set, `labels` those of an identity."""
        self.table: dict[At, RuleSet] = {}
        self._members, self._labels = members, labels
        self._governed: dict[Claims, _Governed] = {}
        self._rows: dict[tuple[int, Direction], dict[RowKey, Claims]] = {}
        self._was: dict[At, RuleSet | None] = {}
        self._touched: set[int] = set()

    def touch(self, identity: int) -> None:
        """Say that an identity appeared, went or changed its labels."""
        if self._governed:
            self._touched.add(identity)

    def put(
        self, policy: int, direction: Direction, rows: Mapping[RowKey, frozenset[Claim]]
    ) -> None:
        """Make these all the rows of a policy's direction that L7 rules govern."""
        place = policy, direction
        old = self._rows.pop(place, {})
        new = {key: (direction, claims) for key, claims in rows.items()}
        if new:
            self._rows[place] = new
        for key in old.keys() - new.keys():
            self._leave(key, old[key])
        for key, claims in new.items():
            if old.get(key) != claims:
                if key in old:
                    self._leave(key, old[key])
                self._join(key, claims)

    def take(self) -> dict[At, RuleSet | None]:
        """Return what changed since the last call, as it is wanted now (None: nothing)."""
        self._settle()
        was, self._was = self._was, {}
        now = {at: self.table.get(at) for at in was}
        return {at: found for at, found in now.items() if found != was[at]}

    def _settle(self) -> None:
        touched, self._touched = self._touched, set()
        for identity in touched:
            labels = self._labels(identity)
            for governed in self._governed.values():
                if governed.judge(identity, labels):
                    for key in governed.rows:
                        self._write((key, identity), governed.sets.get(identity))

    def _join(self, key: RowKey, claims: Claims) -> None:
        governed = self._governed.get(claims)
        if governed is None:
            self._settle()
            governed = self._governed[claims] = _Governed(claims)
            for identity in {n for peers in governed.peers for n in self._members(peers)}:
                governed.judge(identity, self._labels(identity))
        governed.rows.add(key)
        for identity, found in governed.sets.items():
            self._write((key, identity), found)

    def _leave(self, key: RowKey, claims: Claims) -> None:
        governed = self._governed[claims]
        governed.rows.discard(key)
        for identity in governed.sets:
            self._write((key, identity), None)
        if not governed.rows:
            del self._governed[claims]

    def _write(self, at: At, found: RuleSet | None) -> None:
        self._was.setdefault(at, self.table.get(at))
        if found is None:
            self.table.pop(at, None)
        else:
            self.table[at] = found
