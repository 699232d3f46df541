# SPDX-License-Identifier: Apache-2.0
"""Which selectors of toFQDNs have which addresses. Pure, incremental; one writer.

A selector is its text, a name or a pattern with `*`, as in the label `fqdn:<text>`. It has the
addresses of every name that it matches, whichever endpoint asked. A name is held against the
selectors once, when it comes; a selector against the names once, when it comes. For each address
is counted by how many of its names a selector has it, so that an answer costs what it says and
not what else is known of its addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cilium_core.addresses import Address
from cilium_core.fqdn.lookups import Pair
from cilium_core.fqdn.matching import Selectors, matches


class Selection:
    """Pairs with the number of endpoints that hold them, selectors, and what follows."""

    def __init__(self) -> None:
        """Start without pairs and selectors."""
        self._holders: Counter[Pair] = Counter()
        self._addresses: dict[str, set[Address]] = {}
        self._names: dict[Address, set[str]] = {}
        self._selected_by: dict[str, frozenset[str]] = {}
        self._counts: dict[Address, Counter[str]] = {}  # selector to names of the address
        self._selectors = Selectors()

    @property
    def selectors(self) -> frozenset[str]:
        """All selectors."""
        return self._selectors.all

    def add(self, pairs: Iterable[Pair]) -> set[Address]:
        """Count holders of pairs; return the addresses that have other selectors now."""
        return self._change(pairs, 1)

    def take(self, pairs: Iterable[Pair]) -> set[Address]:
        """Count holders of pairs off; return the addresses that have other selectors now."""
        return self._change(pairs, -1)

    def select(self, selectors: Iterable[str]) -> set[Address]:
        """Replace the selectors; return the addresses that have others now."""
        wanted = frozenset(selectors)
        came, went = wanted - self.selectors, self.selectors - wanted
        self._selectors.replace(wanted)
        changed: set[Address] = set()
        for name, former in self._selected_by.items():
            more, less = {text for text in came if matches(text, name)}, former & went
            if more or less:
                self._selected_by[name] = former - less | more
                for address in self._addresses[name]:
                    if self._recount(address, more, 1) | self._recount(address, less, -1):
                        changed.add(address)
        return changed

    def selectors_of(self, address: Address) -> frozenset[str]:
        """Return the selectors that have the address."""
        return frozenset(self._counts.get(address, ()))

    def selected(self) -> Iterable[Address]:
        """Return all addresses that any selector has."""
        return self._counts.keys()

    def addresses_of(self, selector: str) -> frozenset[Address]:
        """Return the addresses of a selector."""
        found = (self._addresses[name] for name, by in self._selected_by.items() if selector in by)
        return frozenset[Address]().union(*found)

    def names_of(self, address: Address) -> frozenset[str]:
        """Return the names that were answered with the address."""
        return frozenset(self._names.get(address, ()))

    def asks_for(self, name: str) -> frozenset[str]:
        """Return the selectors that match a name, known or not."""
        known = self._selected_by.get(name)
        return self._selectors.matching(name) if known is None else known

    def _change(self, pairs: Iterable[Pair], step: int) -> set[Address]:
        moved = [pair for pair in pairs if self._count(pair, step)]
        touched: dict[Address, frozenset[str]] = {}
        for name, address in moved:
            if step > 0:
                self._link(name, address)
            selectors = self._selected_by[name]
            if selectors:
                touched.setdefault(address, self.selectors_of(address))
                self._recount(address, selectors, step)
            if step < 0:
                self._unlink(name, address)
        return {one for one, before in touched.items() if self.selectors_of(one) != before}

    def _count(self, pair: Pair, step: int) -> bool:
        """Return whether the pair came or went with this step."""
        held = self._holders[pair] + step
        if held:
            self._holders[pair] = held
        else:
            del self._holders[pair]
        return held == (1 if step > 0 else 0)

    def _recount(self, address: Address, selectors: Iterable[str], step: int) -> bool:
        """Count selectors of an address; return whether one came or went."""
        counts = self._counts.setdefault(address, Counter())
        before = len(counts)
        for text in selectors:
            counts[text] += step
            if not counts[text]:
                del counts[text]
        after = len(counts)
        if not counts:
            del self._counts[address]
        return before != after

    def _link(self, name: str, address: Address) -> None:
        if name not in self._addresses:
            self._addresses[name] = set()
            self._selected_by[name] = self._selectors.matching(name)
        self._addresses[name].add(address)
        self._names.setdefault(address, set()).add(name)

    def _unlink(self, name: str, address: Address) -> None:
        self._addresses[name].remove(address)
        if not self._addresses[name]:
            del self._addresses[name], self._selected_by[name]
        self._names[address].remove(name)
        if not self._names[address]:
            del self._names[address]
