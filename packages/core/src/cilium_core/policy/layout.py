# SPDX-License-Identifier: Apache-2.0
"""Where rules cut the ports and what each piece says: worked out once for all rules of one shape.

A shape is the entries of one direction without their peers: peer sets are numbered as they appear.
Endpoints under rules of one shape (one template in a hundred namespaces) differ only in who the
numbers are, which costs them little; `Layouts` gives them all one layout. Underneath, cuts and
prefixes are shared by equal intervals, so shapes that differ share what they have in common, and
so do the old and the new layout of an endpoint whose rules change. Pure, not thread-safe.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from cilium_core.policy.bits import Role
from cilium_core.policy.prefixes import Prefix, prefixes
from cilium_core.policy.rules import ALL_PORTS, Protocol

EVERYONE = NO_RULE = -1


class Claim(NamedTuple):
    """An entry with its peer set's number, or EVERYONE, in the place of peers.

    `rule` numbers the L7 rules, which lead to a place of their own.
    """

    protocol: int
    first: int
    last: int
    role: Role
    use: int
    rule: int = NO_RULE


class Shape(NamedTuple):
    """All that a layout depends on."""

    default_allow: bool
    claims: tuple[Claim, ...]


class Content(NamedTuple):
    """What a row says: a set of roles for everyone, and a set of peer sets' numbers.

    With `known_only`, everyone who may is among the peer sets: see `Layout.known`. `governed` are,
    where there are L7 rules, their (use, rule) and those of plain rules beside them.
    """

    everyone: int
    uses: int
    known_only: bool = False
    governed: frozenset[tuple[int, int]] = frozenset()


class Place(NamedTuple):
    """A prefix of a protocol's ports and what its row says."""

    protocol: int
    port: int
    bits: int
    content: Content


class Layout:
    """A shape's rows, complete by construction.

    Where everyone may but some peers may not, "everyone" becomes a peer set too: all identities
    that are known. One whose bits are not in the kernel yet could be any of those that may not.
    `known` says in which roles, with the numbers that these sets have here.
    """

    def __init__(self, shape: Shape, shared: Layouts) -> None:
        """Lay a shape out, with what `shared` has of it already."""
        self._claims = shape.claims
        by_protocol = defaultdict(list)
        for number, claim in enumerate(shape.claims):
            by_protocol[claim.protocol].append(number)
        self._base = tuple(by_protocol.pop(Protocol.ANY, ()))
        self._members = dict(sorted(by_protocol.items()))
        self._cuts = {
            protocol: shared.cut(tuple(shape.claims[number][1:3] for number in members))
            for protocol, members in self._members.items()
        }
        self._covers: list[_Cover] = []  # held, so that they stay shared
        self._masks = dict.fromkeys(Role, 0)
        for claim in shape.claims:
            if claim.use != EVERYONE:
                self._masks[claim.role] |= 1 << claim.use
        self._next = 1 + max((claim.use for claim in shape.claims), default=EVERYONE)
        self.known: dict[Role, int] = {}
        self.places = self._compress(shape.default_allow, shared)
        self.led = tuple(at for at in self.places if at.content.governed)

    def covering(self, protocol: int, port: int) -> Iterator[int]:
        """Yield the numbers of the claims on one port of a protocol."""
        yield from self._base
        if cut := self._cuts.get(protocol):
            members = self._members[protocol]
            yield from (members[n] for n in cut.active[bisect_right(cut.starts, port) - 1])

    def _compress(self, default_allow: bool, shared: Layouts) -> tuple[Place, ...]:
        base = _fold(self._claims[number] for number in self._base)
        if default_allow:
            base = Content(base.everyone | 1 << Role.ALLOW, base.uses)
        anywhere = self._prune(base)
        places = [Place(Protocol.ANY, 0, 0, anywhere)]
        for protocol, members in self._members.items():
            cut = self._cuts[protocol]
            known = {anywhere: 0}
            starts: list[int] = []
            said: list[int] = []
            for first, active in zip(cut.starts, cut.active, strict=True):
                own = _fold(self._claims[members[n]] for n in active)
                whole = Content(base.everyone | own.everyone, base.uses | own.uses)
                governed = self._governed(members[n] for n in active)
                said_here = self._prune(whole)._replace(governed=governed)
                number = known.setdefault(said_here, len(known))
                if not said or said[-1] != number:
                    starts.append(first)
                    said.append(number)
            contents = list(known)
            cover = shared.cover(tuple(starts), tuple(said))
            self._covers.append(cover)
            places += (Place(protocol, at.port, at.bits, contents[at.content]) for at in cover.said)
        return tuple(places)

    def _governed(self, numbers: Iterable[int]) -> frozenset[tuple[int, int]]:
        found = [self._claims[number] for number in numbers]
        if not any(claim.role is Role.L7 for claim in found):  # which always have ports
            return frozenset()
        found += (self._claims[number] for number in self._base)
        return frozenset((claim.use, claim.rule) for claim in found if claim.role is not Role.DENY)

    def _prune(self, content: Content) -> Content:
        """Leave out what cannot change a verdict, since each cell costs the kernel a lookup."""
        everyone, uses = content[:2]
        if everyone >> Role.DENY & 1:
            return Content(1 << Role.DENY, 0)
        given = [role for role in (Role.ALLOW, Role.L7) if everyone >> role & 1]
        for role in given:
            uses &= ~self._masks[role]
        if not given or not uses & (self._masks[Role.DENY] | self._masks[Role.L7]):
            return Content(everyone, uses)
        for role in given:
            uses |= 1 << self.known.setdefault(role, self._next + len(self.known))
        return Content(0, uses, known_only=True)


class Layouts:
    """The layouts in use, and their parts; nothing outlives its users."""

    def __init__(self) -> None:
        """Start empty."""
        self._layouts: WeakValueDictionary[Shape, Layout] = WeakValueDictionary()
        self._cuts: WeakValueDictionary[_Intervals, _Cut] = WeakValueDictionary()
        self._covers: WeakValueDictionary[_Said, _Cover] = WeakValueDictionary()

    def of(self, shape: Shape) -> Layout:
        """Return a shape's layout."""
        found = self._layouts.get(shape)
        if found is None:
            found = self._layouts[shape] = Layout(shape, self)
        return found

    def cut(self, intervals: _Intervals) -> _Cut:
        """Return where intervals cut all ports."""
        found = self._cuts.get(intervals)
        if found is None:
            found = self._cuts[intervals] = _Cut(intervals)
        return found

    def cover(self, starts: tuple[int, ...], said: tuple[int, ...]) -> _Cover:
        """Return the prefixes that say `said[n]` from `starts[n]` on, over 0 everywhere."""
        found = self._covers.get((starts, said))
        if found is None:
            found = self._covers[starts, said] = _Cover(starts, said)
        return found


_Intervals = tuple[tuple[int, int], ...]
_Said = tuple[tuple[int, ...], tuple[int, ...]]


class _Cover:
    """Prefixes that say what some ports say."""

    def __init__(self, starts: Sequence[int], said: Sequence[int]) -> None:
        self.said: list[Prefix] = prefixes(starts, said, inherited=0)


class _Cut:
    """All ports in pieces, cut where an interval begins or ends, and which intervals are on each.

    Piece n begins at `starts[n]` and ends before the next; the pieces leave no gap.
    """

    def __init__(self, intervals: _Intervals) -> None:
        begins = defaultdict(list)
        ends = defaultdict(list)
        for number, (first, last) in enumerate(intervals):
            begins[first].append(number)
            ends[last + 1].append(number)
        self.starts: list[int] = []
        self.active: list[tuple[int, ...]] = []
        active: dict[int, None] = {}
        for first in sorted({0, *begins, *ends}):
            for number in ends.get(first, ()):
                del active[number]
            active.update(dict.fromkeys(begins.get(first, ())))
            if first <= ALL_PORTS[1]:
                self.starts.append(first)
                self.active.append(tuple(sorted(active)))


def _fold(claims: Iterable[Claim]) -> Content:
    everyone = uses = 0
    for claim in claims:
        if claim.use == EVERYONE:
            everyone |= 1 << claim.role
        else:
            uses |= 1 << claim.use
    return Content(everyone, uses)
