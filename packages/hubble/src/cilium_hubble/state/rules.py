# SPDX-License-Identifier: Apache-2.0
"""Which rules decided: from an event's policy, revision, port and matched bits to objects' names.

The agent tells the rules of each resolved policy with the revision from which they hold. An event
is judged by the newest entry that is not newer than its own revision, so a number that is used
again, or an edited policy, leaves past events with the names of then. Pure, one owner.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import NamedTuple

from cilium_hubble.state.model import Origin


class Ports(NamedTuple):
    """A protocol (0: any) with ports first to last."""

    protocol: int
    first: int
    last: int


class Rule(NamedTuple):
    """One rule as rows know it. `peers` are (word, mask); None is everyone. No ports: all."""

    direction: int
    deny: bool
    ports: tuple[Ports, ...]
    peers: tuple[tuple[int, int], ...] | None
    origin: Origin


class Decision(NamedTuple):
    """What an event says of the row and the bits that decided."""

    policy: int
    revision: int
    direction: int
    protocol: int
    port: int
    word: int
    bits: int
    deny: bool


class RuleBook:
    """Rules by policy number and revision."""

    def __init__(self) -> None:
        """Start empty."""
        self._rules: dict[tuple[int, int], tuple[Rule, ...]] = {}
        self._revisions: dict[int, list[int]] = {}
        self.version = 0  # grows with every change: answers of an older one may be wrong

    def put(self, number: int, revision: int, rules: tuple[Rule, ...]) -> None:
        """Say what a policy consists of from a revision on."""
        if (number, revision) not in self._rules:
            insort(self._revisions.setdefault(number, []), revision)
        self._rules[number, revision] = rules
        self.version += 1

    def remove(self, number: int, revision: int) -> None:
        """Forget one entry; one that is not there is no error."""
        if self._rules.pop((number, revision), None) is None:
            return
        self.version += 1
        self._revisions[number].remove(revision)
        if not self._revisions[number]:
            del self._revisions[number]

    def latest(self, number: int) -> tuple[Rule, ...]:
        """Return a policy's rules of its newest revision, none when there is no such policy."""
        revisions = self._revisions.get(number)
        return self._rules[number, revisions[-1]] if revisions else ()

    def has_object(self, kind: str, namespace: str, name: str) -> bool:
        """Tell whether the newest revision of any policy has rules of an object."""
        wanted = (kind, namespace, name)
        return any(
            rule.origin[:3] == wanted for number in self._revisions for rule in self.latest(number)
        )

    def deciders(self, decision: Decision) -> tuple[Origin, ...]:
        """Return the objects whose rules decided, sorted; none for default deny and the unknown."""
        revisions = self._revisions.get(decision.policy, [])
        index = bisect_right(revisions, decision.revision)
        if not index:
            return ()
        rules = self._rules[decision.policy, revisions[index - 1]]
        return tuple(sorted({rule.origin for rule in rules if _decided(rule, decision)}))


def _decided(rule: Rule, decision: Decision) -> bool:
    if (rule.direction, rule.deny) != (decision.direction, decision.deny):
        return False
    if rule.ports and not any(_covers(ports, decision) for ports in rule.ports):
        return False
    if rule.peers is None:
        return True
    return any(word == decision.word and mask & decision.bits for word, mask in rule.peers)


def _covers(ports: Ports, decision: Decision) -> bool:
    return ports.protocol in (0, decision.protocol) and ports.first <= decision.port <= ports.last
