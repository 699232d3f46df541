# SPDX-License-Identifier: Apache-2.0
"""What the policies that select an endpoint make of one direction: rows complete by construction.

Ports are cut where any rule begins or ends, and each piece is given all that covers it (rules on
all ports and all protocols included), so the one row that a packet finds says everything. Deny
wins, then L7, then allow, then the direction's default. A side is who its peers are; where its
rules lie is its `layout`, which others share. Pure; numbers of bits come in last (`Side.rows`), so
equal policies give equal results whatever happened before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from cilium_core.layouts.policy import LIST_CELLS, ROW_CELLS
from cilium_core.policy import redirects
from cilium_core.policy.bits import Role, Use, place, role_of
from cilium_core.policy.entries import Entry
from cilium_core.policy.layout import EVERYONE, NO_RULE, Claim, Content, Layouts, Shape
from cilium_core.policy.parts import Part
from cilium_core.policy.rules import Direction, Origin, PeerSet, Rule, Selector
from cilium_core.policy.tables import Cell, Row, RowKey

MAX_CELLS = ROW_CELLS + LIST_CELLS
EVERYONE_KNOWN = PeerSet(frozenset({Selector()}))


class Side:
    """One direction of a resolved policy."""

    def __init__(self, direction: Direction, parts: Sequence[Part], layouts: Layouts) -> None:
        """Resolve the policies that select an endpoint, given as their parts in the direction."""
        self.direction = direction
        self.selecting = tuple(part.origin for part in parts)
        self.denying: tuple[Origin, ...] = tuple(part.origin for part in parts if part.closes)
        self.entries: tuple[Entry, ...] = tuple(chain.from_iterable(p.entries for p in parts))
        self._parts = parts  # held, so that they stay shared
        self._uses: dict[Use, int] = {}
        self._rules: dict[Rule, int] = {}  # those with L7 rules
        uses = chain.from_iterable(part.uses for part in parts)
        claims = tuple(map(self._claim, self.entries, uses))
        self._layout = layouts.of(Shape(self.default_allow, claims))
        # Numbered as the layout has them: the rules' own sets first.
        self._numbered = (*self._uses, *(Use(EVERYONE_KNOWN, role) for role in self._layout.known))
        self._made_of: tuple[tuple[int, int], ...] | None = None
        self._made: list[tuple[tuple[int, int, int], Row]] = []

    @property
    def default_allow(self) -> bool:
        """Whether what no rule matches passes."""
        return not self.denying

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every peer set in every role that it has on a row."""
        return tuple(dict.fromkeys(self._numbered))

    def rows(self, policy: int, number_of: Callable[[Use], int]) -> dict[RowKey, Row]:
        """Return the direction's rows under a policy number, with the bits' numbers."""
        places = tuple(place(number_of(use)) for use in self._numbered)
        if places != self._made_of:
            self._made_of = places
            found = self._layout.places
            contents = {content: _row(content, places) for content in {at.content for at in found}}
            self._made = [(at[:3], contents[at.content]) for at in found]
        return {RowKey(policy, self.direction, *at): row for at, row in self._made}

    def governed(self, policy: int) -> dict[RowKey, frozenset[redirects.Claim]]:
        """Return what is said on the rows that L7 rules govern, under a policy number."""
        peers, rules = [use.peers for use in self._uses], tuple(self._rules)

        def claim(use: int, rule: int) -> redirects.Claim:
            return redirects.Claim(
                None if use == EVERYONE else peers[use], None if rule == NO_RULE else rules[rule]
            )

        return {
            RowKey(policy, self.direction, *at[:3]): frozenset(
                claim(*said) for said in at.content.governed
            )
            for at in self._layout.led
        }

    def covering(self, protocol: int, port: int) -> Iterator[Entry]:
        """Yield the entries on one port of a protocol, whoever their peers are."""
        return (self.entries[number] for number in self._layout.covering(protocol, port))

    def too_wide(self) -> bool:
        """Tell whether a row has more cells than the kernel holds, and so denies everything."""
        return any(row is _TOO_WIDE for _, row in self._made)

    def _claim(self, entry: Entry, use: Use | None) -> Claim:
        number = EVERYONE if use is None else self._uses.setdefault(use, len(self._uses))
        rule = NO_RULE
        if entry.role is Role.L7:
            rule = self._rules.setdefault(entry.rule, len(self._rules))
        return Claim(entry.protocol, entry.first, entry.last, entry.role, number, rule)


# A row that cannot be written whole may let nothing through: what is missing could be a deny.
_TOO_WIDE = Row(any_deny=True)
_FLAGS = (Role.ALLOW, Role.DENY, Role.L7)


def _row(content: Content, places: Sequence[tuple[int, int]]) -> Row:
    words: defaultdict[int, int] = defaultdict(int)
    uses = content.uses
    while uses:
        low = uses & -uses
        word, mask = places[low.bit_length() - 1]
        words[word] |= mask
        uses ^= low
    if len(words) > MAX_CELLS:
        return _TOO_WIDE
    allow, deny, l7 = (bool(content.everyone >> role & 1) for role in _FLAGS)
    cells = tuple(_cell(word, words[word]) for word in sorted(words))
    return Row(allow, deny, l7, cells, content.known_only)


def _cell(word: int, bits: int) -> Cell:
    masks = [0, 0, 0]  # in the order of the roles, as a cell's
    masks[role_of(word)] = bits
    return Cell(word, *masks)
