# SPDX-License-Identifier: Apache-2.0
"""Identities of addresses that DNS gave: one for each set of labels, shared by its addresses. Pure.

The labels are `fqdn:<selector>` for each selector of toFQDNs that has the address, and those of the
longest prefix of policies around it; without one, the world's. So an address that comes to names
which others have already needs no new identity, and a rule for the prefix goes on to hold. A number
that was kept from an earlier process is given to the same labels again. One owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network

from cilium_core.addresses import Address, Network
from cilium_core.labels import LabelSet
from cilium_core.policy.cidr import world
from cilium_core.policy.language.names import SOURCE


class NameIdentities:
    """Label set to number, and how many addresses each number has."""

    def __init__(self, draw: Callable[[], int], families: tuple[int, ...]) -> None:
        """`draw` gives a number that no identity of this node had; `families` are pods' own."""
        self.labels: dict[int, LabelSet] = {}
        self.on_number: Callable[[int, LabelSet], None] = lambda _number, _labels: None
        self._draw = draw
        self._families = families
        self._numbers: dict[frozenset[str], int] = {}
        self._known: dict[frozenset[str], int] = {}  # an earlier process's
        self._users: Counter[int] = Counter()
        self._reserved: set[int] = set()

    def adopt(self, numbers: Mapping[int, Iterable[str]]) -> None:
        """Take over what numbers of an earlier process stand for (labels as texts)."""
        self._known = {frozenset(texts): number for number, texts in numbers.items()}

    def of(self, selectors: Iterable[str], around: LabelSet | None, version: int) -> LabelSet:
        """Return the labels of an address; `around` are those of the prefix that covers it."""
        named = {f"{SOURCE}{text}": "" for text in selectors}
        return named | (around if around is not None else self._world(version))

    def number(self, labels: LabelSet) -> int:
        """Return the number of a label set, a new one if need be."""
        texts = frozenset(label_texts(labels))
        number = self._numbers.get(texts)
        if number is None:
            number = self._known.pop(texts, 0) or self._draw()
            self._numbers[texts] = number
            self.labels[number] = labels
            self.on_number(number, labels)
        return number

    def reserve(self, selectors: Iterable[str]) -> None:
        """Have an identity ready for each selector alone, and no longer for others."""
        wanted = {
            self.number(self.of((text,), None, version))
            for text in selectors
            for version in self._families
        }
        self._reserved = wanted

    def use(self, number: int, step: int) -> None:
        """Count an address on (1) or off (-1)."""
        self._users[number] += step

    def take_spare(self) -> list[int]:
        """Forget and return the numbers that no address has."""
        spare = [n for n in self.labels if not self._users[n] and n not in self._reserved]
        for number in spare:
            del self._numbers[frozenset(label_texts(self.labels.pop(number)))]
            self._users.pop(number, None)
        return spare

    def _world(self, version: int) -> LabelSet:
        return {world(version, dual_stack=len(self._families) > 1): ""}


def label_texts(labels: LabelSet) -> list[str]:
    """Return labels as sorted texts; an empty value has no `=`."""
    return sorted(f"{key}={value}" if value else key for key, value in labels.items())


class Around:
    """The longest of many prefixes around an address."""

    def __init__(self, labels_of: Callable[[Network], LabelSet]) -> None:
        """`labels_of` says which labels the identity of a prefix carries now."""
        self._labels_of = labels_of
        self._prefixes: frozenset[Network] = frozenset()
        self._lengths: dict[int, list[int]] = {}

    def replace(self, prefixes: Iterable[Network]) -> None:
        """Make these the prefixes."""
        self._prefixes = frozenset(prefixes)
        lengths: dict[int, set[int]] = {}
        for prefix in self._prefixes:
            lengths.setdefault(prefix.version, set()).add(prefix.prefixlen)
        self._lengths = {version: sorted(of, reverse=True) for version, of in lengths.items()}

    def labels(self, address: Address) -> LabelSet | None:
        """Return the labels of the prefix; None when there is none."""
        for length in self._lengths.get(address.version, ()):
            prefix = ip_network((address, length), strict=False)
            if prefix in self._prefixes:
                return self._labels_of(prefix)
        return None
