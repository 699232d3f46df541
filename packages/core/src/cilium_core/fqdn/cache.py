# SPDX-License-Identifier: Apache-2.0
"""The node's memory of DNS: what its endpoints know, and what toFQDNs selects of it. Pure.

Everything that changes what a selector has returns the addresses whose selectors are others now:
the caller carries these, and only these, into identities and the ipcache. One writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cilium_core.addresses import Address
from cilium_core.fqdn.endpoint import EndpointNames, Moved
from cilium_core.fqdn.limits import Limits
from cilium_core.fqdn.lookups import Pair
from cilium_core.fqdn.selection import Selection
from cilium_core.policy.patterns import dns_name


class NameCache:
    """endpoint → names, and the selection over all of them.

    `on_gone` is told of the pairs that an endpoint loses while it is there.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Start empty."""
        self.limits = limits or Limits()
        self.endpoints: dict[int, EndpointNames] = {}
        self.selection = Selection()
        self.on_gone: Callable[[int, frozenset[Pair]], None] = lambda _endpoint, _pairs: None

    def learn(
        self, now: float, endpoint: int, name: str, addresses: Iterable[Address], ttl: float
    ) -> set[Address]:
        """Take in what an endpoint is about to be answered; any case, with or without a dot."""
        names = self.endpoint(endpoint)
        return self._moved(endpoint, names.learn(now, dns_name(name), addresses, ttl))

    def endpoint(self, endpoint: int) -> EndpointNames:
        """Return what an endpoint knows, which may be nothing yet."""
        return self.endpoints.setdefault(endpoint, EndpointNames(self.limits))

    def end(self, now: float) -> set[Address]:
        """Let answers end whose TTL is over. Call it every second or at `next_end`."""
        return self._all((number, names.end(now)) for number, names in self.endpoints.items())

    def next_end(self) -> float | None:
        """Return when the next answer may end; None when there is none."""
        ends = (names.lookups.next_end() for names in self.endpoints.values())
        return min((end for end in ends if end is not None), default=None)

    def walked(
        self, began: float, ended: float, connections: Mapping[int, Iterable[Address]]
    ) -> set[Address]:
        """Take in one whole walk over the node's connections: endpoint → addresses met.

        What a connection still uses is kept; what none uses and has no TTL left goes.
        """
        for endpoint, addresses in connections.items():
            if names := self.endpoints.get(endpoint):
                names.meet(ended, addresses)
        return self._all((number, names.walked(began)) for number, names in self.endpoints.items())

    def forget(self, endpoint: int) -> set[Address]:
        """Forget an endpoint that is gone."""
        names = self.endpoints.pop(endpoint, None)
        return self.selection.take(set(names.pairs())) if names else set()

    def select(self, selectors: Iterable[str]) -> set[Address]:
        """Replace the selectors that policies of this node have in toFQDNs."""
        return self.selection.select(selectors)

    def keep(
        self, endpoint: int, address: Address, names: Iterable[str], since: float, alive: float
    ) -> set[Address]:
        """Hold an address for connections, as an earlier run did."""
        return self._moved(endpoint, self.endpoint(endpoint).keep(address, names, since, alive))

    def gone(self, endpoint: int, name: str, addresses: Iterable[Address]) -> set[Address]:
        """Forget pairs, as an earlier run did."""
        names = self.endpoint(endpoint)
        pairs = {(dns_name(name), address) for address in addresses}
        return self._moved(endpoint, names.drop(pairs))

    def _all(self, moves: Iterable[tuple[int, Moved]]) -> set[Address]:
        return {one for endpoint, moved in moves for one in self._moved(endpoint, moved)}

    def _moved(self, endpoint: int, moved: Moved) -> set[Address]:
        if not moved.came and not moved.went:
            return set()
        if moved.went:
            self.on_gone(endpoint, moved.went)
        return self.selection.add(moved.came) | self.selection.take(moved.went)
