# SPDX-License-Identifier: Apache-2.0
"""Which selectors of toFQDNs have which addresses. Pure, incremental; one writer.

A selector is its text, a name or a pattern with `*`, as in the label `fqdn:<text>`. It has the
addresses of every name that it matches, whichever endpoint asked. A name is held against the
selectors once, when it comes; a selector against the names once, when it comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cilium_core.addresses import Address
from cilium_core.fqdn.lookups import Pair
from cilium_core.policy.patterns import name_pattern


class Selection:
    """Pairs with the number of endpoints that hold them, selectors, and what follows."""

    def __init__(self) -> None:
        """Start without pairs and selectors."""
        self._holders: Counter[Pair] = Counter()
        self._addresses: dict[str, set[Address]] = {}
        self._names: dict[Address, set[str]] = {}
        self._selected_by: dict[str, frozenset[str]] = {}
        self._selectors: set[str] = set()
        self._patterns: set[str] = set()

    def add(self, pairs: Iterable[Pair]) -> set[Address]:
        """Count holders of pairs; return the addresses that have other selectors now."""
        return self._change(pairs, 1)

    def take(self, pairs: Iterable[Pair]) -> set[Address]:
        """Count holders of pairs off; return the addresses that have other selectors now."""
        return self._change(pairs, -1)

    def select(self, selectors: Iterable[str]) -> set[Address]:
        """Replace the selectors; return the addresses that have others now."""
        wanted = set(selectors)
        came, went = wanted - self._selectors, self._selectors - wanted
        self._selectors = wanted
        self._patterns = {text for text in wanted if "*" in text}
        changed: set[Address] = set()
        for name, former in self._selected_by.items():
            now = (former - went) | {text for text in came if matches(text, name)}
            if now != former:
                self._selected_by[name] = frozenset(now)
                changed |= self._addresses[name]
        return changed

    def selectors_of(self, address: Address) -> frozenset[str]:
        """Return the selectors that have the address."""
        names = self._names.get(address, ())
        return frozenset().union(*(self._selected_by[name] for name in names))

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
        return self._selecting(name) if known is None else known

    def _change(self, pairs: Iterable[Pair], step: int) -> set[Address]:
        moved = [pair for pair in pairs if self._count(pair, step)]
        before = {address: self.selectors_of(address) for _, address in moved}
        for name, address in moved:
            (self._link if step > 0 else self._unlink)(name, address)
        return {one for one, selectors in before.items() if self.selectors_of(one) != selectors}

    def _count(self, pair: Pair, step: int) -> bool:
        """Return whether the pair came or went with this step."""
        held = self._holders[pair] + step
        if held:
            self._holders[pair] = held
        else:
            del self._holders[pair]
        return held == (1 if step > 0 else 0)

    def _link(self, name: str, address: Address) -> None:
        if name not in self._addresses:
            self._addresses[name] = set()
            self._selected_by[name] = self._selecting(name)
        self._addresses[name].add(address)
        self._names.setdefault(address, set()).add(name)

    def _unlink(self, name: str, address: Address) -> None:
        self._addresses[name].remove(address)
        if not self._addresses[name]:
            del self._addresses[name], self._selected_by[name]
        self._names[address].remove(name)
        if not self._names[address]:
            del self._names[address]

    def _selecting(self, name: str) -> frozenset[str]:
        exact = {name} & self._selectors
        return frozenset(exact | {text for text in self._patterns if matches(text, name)})


def matches(selector: str, name: str) -> bool:
    """Return whether a selector's text matches a name in the form of `patterns.dns_name`."""
    if "*" not in selector:
        return selector == name
    return name_pattern(selector).fullmatch(name) is not None
