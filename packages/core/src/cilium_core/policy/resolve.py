# SPDX-License-Identifier: Apache-2.0
"""What the policies that select an endpoint make of one direction: rows complete by construction.

Ports are cut where any rule begins or ends, and each piece is given all that covers it (rules on
all ports and all protocols included), so the one row that a packet finds says everything. Deny
wins, then L7, then allow, then the direction's default. Where everyone may but some peers may not,
"everyone" is a peer set too: all identities that are known. One whose bits are not in the kernel
yet could be any of those that may not. Pure; numbers of bits come in last (`Side.rows`), so equal
policies give equal results whatever happened before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cilium_core.layouts.policy import LIST_CELLS, ROW_CELLS
from cilium_core.policy.bits import Role, Use, place, role_of
from cilium_core.policy.entries import Entry, entries
from cilium_core.policy.named_ports import NamedPorts
from cilium_core.policy.prefixes import prefixes
from cilium_core.policy.rules import (
    ALL_PORTS,
    Direction,
    Origin,
    PeerSet,
    Policy,
    Protocol,
    Selector,
)
from cilium_core.policy.tables import Cell, Row, RowKey

MAX_CELLS = ROW_CELLS + LIST_CELLS
EVERYONE_KNOWN = PeerSet(frozenset({Selector()}))


class Content(NamedTuple):
    """What a row says: a set of roles for everyone, and a set of uses (bit n: `Side.uses[n]`)."""

    everyone: int
    uses: int
    known_only: bool = False


class Span(NamedTuple):
    """Ports from `first` up to the next span, with the entries on them that are not on all."""

    first: int
    entries: tuple[Entry, ...]


class _Place(NamedTuple):
    protocol: int
    port: int
    bits: int
    content: Content


class Side:
    """One direction of a resolved policy."""

    def __init__(self, direction: Direction, policies: Sequence[Policy], named: NamedPorts) -> None:
        """Resolve the policies that select an endpoint; `named` as in `entries`."""
        self.direction = direction
        self.selecting = tuple(policy.origin for policy in policies)
        self.denying: tuple[Origin, ...] = tuple(
            policy.origin for policy in policies if direction in policy.default_deny
        )
        self.entries = tuple(entries(policies, direction, named))
        by_protocol = defaultdict(list)
        for entry in self.entries:
            by_protocol[entry.protocol].append(entry)
        self._base = tuple(by_protocol.pop(Protocol.ANY, ()))
        self._spans = {protocol: _spans(found) for protocol, found in by_protocol.items()}
        self._uses: dict[Use, int] = {}
        self._masks = dict.fromkeys(Role, 0)
        self._places = self._compress()
        self._made_of: tuple[tuple[int, int], ...] | None = None
        self._made: list[tuple[tuple[int, int, int], Row]] = []

    @property
    def default_allow(self) -> bool:
        """Whether what no rule matches passes."""
        return not self.denying

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every peer set in every role that a rule gives it."""
        return tuple(self._uses)

    def rows(self, policy: int, number_of: Callable[[Use], int]) -> dict[RowKey, Row]:
        """Return the direction's rows under a policy number, with the bits' numbers."""
        places = tuple(place(number_of(use)) for use in self._uses)
        if places != self._made_of:
            self._made_of = places
            contents = {at.content: _row(at.content, places) for at in self._places}
            self._made = [(at[:3], contents[at.content]) for at in self._places]
        return {RowKey(policy, self.direction, *at): row for at, row in self._made}

    def covering(self, protocol: int, port: int) -> Iterator[Entry]:
        """Yield the entries on one port of a protocol, whoever their peers are."""
        yield from self._base
        if spans := self._spans.get(protocol):
            yield from spans[bisect_right(spans, port, key=_first) - 1].entries

    def too_wide(self) -> bool:
        """Tell whether a row has more cells than the kernel holds, and so denies everything."""
        return any(row is _TOO_WIDE for _, row in self._made)

    def _compress(self) -> list[_Place]:
        base = self._fold(self._base)
        if self.default_allow:
            base = Content(base.everyone | 1 << Role.ALLOW, base.uses)
        anywhere = self._prune(base)
        places = [_Place(Protocol.ANY, 0, 0, anywhere)]
        for protocol, spans in sorted(self._spans.items()):
            known = {anywhere: 0}
            starts: list[int] = []
            said: list[int] = []
            for span in spans:
                own = self._fold(span.entries)
                whole = Content(base.everyone | own.everyone, base.uses | own.uses)
                number = known.setdefault(self._prune(whole), len(known))
                if not said or said[-1] != number:
                    starts.append(span.first)
                    said.append(number)
            contents = list(known)
            places += (
                _Place(protocol, prefix.port, prefix.bits, contents[prefix.content])
                for prefix in prefixes(starts, said, inherited=0)
            )
        return places

    def _fold(self, found: Iterable[Entry]) -> Content:
        everyone = uses = 0
        for entry in found:
            use = entry.use
            if use is None:
                everyone |= 1 << entry.role
            else:
                uses |= self._mask(use)
        return Content(everyone, uses)

    def _mask(self, use: Use) -> int:
        number = self._uses.get(use)
        if number is None:
            number = self._uses[use] = len(self._uses)
            self._masks[use.role] |= 1 << number
        return 1 << number

    def _prune(self, content: Content) -> Content:
        """Leave out what cannot change a verdict, since each cell costs the kernel a lookup."""
        everyone, uses, _ = content
        if everyone >> Role.DENY & 1:
            return Content(1 << Role.DENY, 0)
        given = [role for role in (Role.ALLOW, Role.L7) if everyone >> role & 1]
        for role in given:
            uses &= ~self._masks[role]
        if not given or not uses & (self._masks[Role.DENY] | self._masks[Role.L7]):
            return Content(everyone, uses)
        for role in given:
            uses |= self._mask(Use(EVERYONE_KNOWN, role))
        return Content(0, uses, known_only=True)


def _first(span: Span) -> int:
    return span.first


def _spans(found: Sequence[Entry]) -> list[Span]:
    """Cut all ports where an entry begins or ends; the spans cover them without a gap."""
    begins = defaultdict(list)
    ends = defaultdict(list)
    for number, entry in enumerate(found):
        begins[entry.first].append(number)
        ends[entry.last + 1].append(number)
    active: dict[int, None] = {}
    spans = []
    for first in sorted({0, *begins, *ends}):
        for number in ends[first]:
            del active[number]
        active.update(dict.fromkeys(begins[first]))
        if first <= ALL_PORTS[1]:
            spans.append(Span(first, tuple(found[number] for number in sorted(active))))
    return spans


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
    masks = {Role.ALLOW: 0, Role.DENY: 0, Role.L7: 0, role_of(word): bits}
    return Cell(word, masks[Role.ALLOW], masks[Role.DENY], masks[Role.L7])
