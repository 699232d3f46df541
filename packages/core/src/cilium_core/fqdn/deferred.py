# SPDX-License-Identifier: Apache-2.0
"""Addresses of one endpoint whose TTL is over, kept while a connection may use them. Pure.

Upstream calls them zombies. One goes when a walk over the connections that began after its TTL was
over has not met it; the walks are the caller's. One writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cilium_core.addresses import Address
from cilium_core.fqdn.limits import Limits
from cilium_core.fqdn.lookups import Pair

NEVER = float("-inf")


@dataclass(slots=True)
class Kept:
    """The names behind an address, the latest end of their TTLs, and when a connection was met."""

    names: set[str]
    since: float
    alive: float = NEVER

    @property
    def order(self) -> tuple[float, float]:
        """Who goes first when there is no room: silent longest, then ended longest ago."""
        return self.alive, self.since


class Deferred:
    """address → Kept."""

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self._limits = limits
        self._kept: dict[Address, Kept] = {}
        self._by_name: dict[str, set[Address]] = {}

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self._kept)

    def __contains__(self, pair: Pair) -> bool:
        """Return whether the pair is here."""
        return pair[1] in self._by_name.get(pair[0], ())

    def defer(self, now: float, pairs: Iterable[Pair]) -> set[Pair]:
        """Keep pairs; return those, of old and new, that found no room."""
        names = set()
        for name, address in pairs:
            self.put(name, address, now, NEVER)
            names.add(name)
        gone: set[Pair] = set()
        for name in sorted(names):
            held = self._by_name[name]
            for address in self._first(held, len(held) - self._limits.per_name):
                gone.add((name, address))
                self.remove((name, address))
        for address in self._first(self._kept, len(self._kept) - self._limits.deferred):
            gone |= self._drop(address)
        return gone

    def put(self, name: str, address: Address, since: float, alive: float) -> None:
        """Hold a pair: one whose TTL ended at `since`, or one of an earlier run."""
        kept = self._kept.setdefault(address, Kept(set(), since))
        kept.names.add(name)
        kept.since = max(kept.since, since)
        kept.alive = max(kept.alive, alive)
        self._by_name.setdefault(name, set()).add(address)

    def meet(self, now: float, addresses: Iterable[Address]) -> None:
        """Note that connections to these addresses were met."""
        for address in addresses:
            if kept := self._kept.get(address):
                kept.alive = max(kept.alive, now)

    def walked(self, began: float) -> set[Pair]:
        """Forget what a finished walk over all connections, begun at `began`, has not met."""
        silent = began - self._limits.idle_grace
        dead = [a for a, kept in self._kept.items() if kept.since < began and kept.alive < silent]
        return {pair for address in dead for pair in self._drop(address)}

    def remove(self, pair: Pair) -> None:
        """Forget a pair that is here."""
        name, address = pair
        kept = self._kept[address]
        kept.names.remove(name)
        if not kept.names:
            del self._kept[address]
        self._by_name[name].remove(address)
        if not self._by_name[name]:
            del self._by_name[name]

    def items(self) -> Iterator[tuple[Address, Kept]]:
        """Yield all that is held."""
        yield from self._kept.items()

    def _first(self, among: Iterable[Address], count: int) -> list[Address]:
        if count <= 0:
            return []
        return sorted(among, key=lambda one: (*self._kept[one].order, one.packed))[:count]

    def _drop(self, address: Address) -> set[Pair]:
        pairs = {(name, address) for name in self._kept[address].names}
        for pair in pairs:
            self.remove(pair)
        return pairs
