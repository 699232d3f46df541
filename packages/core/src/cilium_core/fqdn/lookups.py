# SPDX-License-Identifier: Apache-2.0
"""The answers of one endpoint whose TTL is not over. Pure; one writer.

A heap orders them by end, so that ending costs what ends and not what is there. An answer that is
learned again leaves its former heap item behind: what counts is the table.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cilium_core.addresses import Address
from cilium_core.fqdn.limits import Limits

Pair = tuple[str, Address]


@dataclass(frozen=True, slots=True)
class Lookup:
    """When an address was last answered for a name, its TTL then, and when that is over."""

    learned: float
    ttl: float
    expires: float


class Lookups:
    """name → address → Lookup. Names are in the form of `patterns.dns_name`."""

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self._limits = limits
        self._names: dict[str, dict[Address, Lookup]] = {}
        self._ends: list[tuple[float, str, bytes, Address]] = []
        self._count = 0

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __contains__(self, pair: Pair) -> bool:
        """Return whether the pair is here."""
        return pair[1] in self._names.get(pair[0], ())

    def learn(self, now: float, name: str, addresses: Iterable[Address], ttl: float) -> set[Pair]:
        """Take an answer in; return the pairs that found no room.

        A shorter TTL never shortens what an earlier answer promised. When a name has too many
        addresses the ones that end first go, among equals the ones learned first; when all names
        together have too many, the ones that end first.
        """
        held = self._names.setdefault(name, {})
        ttl = max(min(ttl, self._limits.longest_ttl), self._limits.min_ttl)
        for address in addresses:
            former = held.get(address)
            if former is None or former.expires < now + ttl:
                self.put(name, address, Lookup(now, ttl, now + ttl))
        excess = max(0, len(held) - self._limits.per_name)
        crowded: set[Pair] = set()
        if excess:
            order = sorted(held, key=lambda one: (held[one].expires, held[one].learned, one.packed))
            crowded = {(name, address) for address in order[:excess]}
        for pair in crowded:
            self.remove(pair)
        if not self._names.get(name, True):
            del self._names[name]
        while self._count > self._limits.pairs:
            crowded |= self._pop()
        return crowded

    def put(self, name: str, address: Address, lookup: Lookup) -> None:
        """Hold a pair as it is: of an answer, or of an earlier run."""
        held = self._names.setdefault(name, {})
        self._count += address not in held
        held[address] = lookup
        heapq.heappush(self._ends, (lookup.expires, name, address.packed, address))

    def end(self, now: float) -> set[Pair]:
        """Remove and return the pairs whose TTL is over."""
        ended = set()
        while self._ends and self._ends[0][0] <= now:
            ended |= self._pop()
        if len(self._ends) > 2 * len(self) + 64:  # mostly items of answers that came again
            self._rebuild()
        return ended

    def remove(self, pair: Pair) -> None:
        """Forget a pair that is here."""
        name, address = pair
        del self._names[name][address]
        self._count -= 1
        if not self._names[name]:
            del self._names[name]

    def next_end(self) -> float | None:
        """Return when the next pair may end; None when there is none."""
        return self._ends[0][0] if self._ends else None

    def items(self) -> Iterator[tuple[str, Address, Lookup]]:
        """Yield all that is held."""
        for name, held in self._names.items():
            for address, lookup in held.items():
                yield name, address, lookup

    def _pop(self) -> set[Pair]:
        """Take the first item off; with it goes its pair, unless that was answered again."""
        expires, name, _, address = heapq.heappop(self._ends)
        lookup = self._names.get(name, {}).get(address)
        if lookup is None or lookup.expires != expires:
            return set()
        self.remove((name, address))
        return {(name, address)}

    def _rebuild(self) -> None:
        self._ends = [
            (lookup.expires, name, address.packed, address)
            for name, address, lookup in self.items()
        ]
        heapq.heapify(self._ends)
