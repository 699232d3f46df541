# SPDX-License-Identifier: Apache-2.0
"""Why a packet gets its verdict: the rules that decided, or the default that did.

This reads the resolved rules themselves, not the tables, and agrees with `decide` on them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cilium_core.policy.bits import Role
from cilium_core.policy.decide import Verdict
from cilium_core.policy.entries import Entry
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import ALL_PORTS, Direction, Origin, Protocol

_ORDER = ((Role.DENY, Verdict.DENY_RULE), (Role.L7, Verdict.L7), (Role.ALLOW, Verdict.ALLOW))
# What a rule for some peers may be, to keep what is said of everyone from those who are unknown.
_AGAINST: Mapping[Verdict, frozenset[Role]] = {
    Verdict.DENY_RULE: frozenset(),
    Verdict.L7: frozenset({Role.DENY}),
    Verdict.ALLOW: frozenset({Role.DENY, Role.L7}),
}


class Explanation(NamedTuple):
    """A verdict with what decided it.

    `entries` are those that match and carry the verdict, first the one to name; for the default
    there are none. `allows` are allow rules beside L7 rules: with one, every request passes.
    `policies` are those that turned default deny on (for a default verdict), or select at all.
    """

    verdict: Verdict
    direction: Direction
    entries: tuple[Entry, ...]
    allows: tuple[Entry, ...]
    policies: tuple[Origin, ...]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The rules that decided, each once; for default deny the policies that ask for it."""
        if not self.entries:
            return self.policies if self.verdict is Verdict.DENY else ()
        return tuple(dict.fromkeys(entry.rule.origin for entry in self.entries))

    def __str__(self) -> str:
        """Return a phrase for users: the first rule, or the default and whose it is."""
        if self.entries:
            return str(self.origins[0])
        if self.verdict is Verdict.UNKNOWN:
            return "unknown identity: a rule for some peers may mean it"
        if self.verdict is Verdict.DENY:
            return "default deny by " + ", ".join(map(str, self.policies))
        if self.policies:
            return "default allow: no selecting policy turns default deny on"
        return "default allow: no policy selects"


def explain(side: Side, protocol: int, port: int, labels: Mapping[str, str] | None) -> Explanation:
    """Judge one port of a direction for a peer; `labels` (expanded) None: an unknown identity."""
    found: dict[Role, list[Entry]] = {role: [] for role in Role}
    for_some: set[Role] = set()
    for entry in side.covering(protocol, port):
        if entry.peers is None or (labels is not None and entry.peers.matches(labels)):
            found[entry.role].append(entry)
        if entry.peers is not None:
            for_some.add(entry.role)
    allows = tuple(found[Role.ALLOW])
    verdict, entries = Verdict.ALLOW, tuple[Entry, ...]()
    for role, said in _ORDER:
        if found[role]:
            verdict, entries = said, tuple(found[role])
            break
    else:
        if not side.default_allow:
            return Explanation(Verdict.DENY, side.direction, (), (), side.denying)
    if labels is None and for_some & _AGAINST[verdict]:
        return Explanation(Verdict.UNKNOWN, side.direction, (), (), side.selecting)
    return Explanation(verdict, side.direction, entries, allows, side.selecting)


def nearest(side: Side, protocol: int, port: int, labels: Mapping[str, str] | None) -> str:
    """Say which rule nearly let a packet in: for its peer on other ports, or for others on its own.

    Empty when there is neither. `labels` as in `explain`.
    """
    covering = set(side.covering(protocol, port))
    for_others = ""
    for entry in side.entries:
        if entry.role is Role.DENY:
            continue
        if entry.peers is None or (labels is not None and entry.peers.matches(labels)):
            return f"{entry.rule.origin} allows this peer, but on {_ports(entry)}"
        if not for_others and entry in covering:
            for_others = f"{entry.rule.origin} allows this port, but for other peers"
    return for_others


def _ports(entry: Entry) -> str:
    word = Protocol(entry.protocol).name
    if entry.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        word += " type"
    if (entry.first, entry.last) == ALL_PORTS:
        return f"{word}"
    return f"{word} {entry.first}" + (f"-{entry.last}" if entry.last > entry.first else "")
