# SPDX-License-Identifier: Apache-2.0
"""What one endpoint may believe of names: answers with a TTL, then what connections keep. Pure.

A pair of name and address is in one of the two or in neither. Every change tells which pairs came
and which went, so that what is derived from them never has to be computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cilium_core.addresses import Address
from cilium_core.fqdn.deferred import Deferred
from cilium_core.fqdn.limits import Limits
from cilium_core.fqdn.lookups import Lookups, Pair


@dataclass(frozen=True, slots=True)
class Moved:
    """The pairs that a change brought and the ones that it took."""

    came: frozenset[Pair] = frozenset()
    went: frozenset[Pair] = frozenset()


class EndpointNames:
    """The two stores of an endpoint as one."""

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self.lookups = Lookups(limits)
        self.deferred = Deferred(limits)

    def learn(self, now: float, name: str, addresses: Iterable[Address], ttl: float) -> Moved:
        """Take an answer in."""
        pairs = {(name, address) for address in addresses}
        known = {pair for pair in pairs if pair in self.lookups or pair in self.deferred}
        for pair in known:
            if pair in self.deferred:
                self.deferred.remove(pair)
        crowded = self.lookups.learn(now, name, (address for _, address in pairs), ttl)
        gone = self.deferred.defer(now, crowded)
        new = pairs - known
        return Moved(frozenset(new - gone), frozenset(gone - new))

    def end(self, now: float) -> Moved:
        """Let answers end whose TTL is over; connections keep their addresses until a walk."""
        return Moved(went=frozenset(self.deferred.defer(now, self.lookups.end(now))))

    def meet(self, now: float, addresses: Iterable[Address]) -> None:
        """Note that the endpoint's connections to these addresses were met."""
        self.deferred.meet(now, addresses)

    def walked(self, began: float) -> Moved:
        """Forget what a finished walk over the connections, begun at `began`, has not met."""
        return Moved(went=frozenset(self.deferred.walked(began)))

    def keep(self, address: Address, names: Iterable[str], since: float, alive: float) -> Moved:
        """Hold an address for connections; a name that has a TTL for it is no such name."""
        kept = {(name, address) for name in names if (name, address) not in self.lookups}
        came = {pair for pair in kept if pair not in self.deferred}
        for name, _ in kept:
            self.deferred.put(name, address, since, alive)
        return Moved(came=frozenset(came))

    def drop(self, pairs: Iterable[Pair]) -> Moved:
        """Forget pairs; those that are not here are no error."""
        went = set()
        for pair in pairs:
            for store in (self.lookups, self.deferred):
                if pair in store:
                    store.remove(pair)
                    went.add(pair)
        return Moved(went=frozenset(went))

    def pairs(self) -> Iterator[Pair]:
        """Yield every pair that holds."""
        for name, address, _ in self.lookups.items():
            yield name, address
        for address, kept in self.deferred.items():
            for name in kept.names:
                yield name, address
