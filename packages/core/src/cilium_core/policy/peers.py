# SPDX-License-Identifier: Apache-2.0
"""Identities and the peer sets in force, and so the bits of each identity.

A new identity is compared with the peer sets that share a label with it; a new peer set finds its
identities in the label index. Pure, not thread-safe.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from cilium_core.labels import LabelSet
from cilium_core.policy import named_ports
from cilium_core.policy.bits import BitNumbers, Role, Use, place, use_digest
from cilium_core.policy.index import LabelIndex, SelectorIndex, positions
from cilium_core.policy.named_ports import PortNumber
from cilium_core.policy.rules import PeerSet

BitsAt = tuple[int, int]  # (identity, word)


class PeerPorts:
    """Which numbers the named ports of all known identities have."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts: defaultdict[str, Counter[PortNumber]] = defaultdict(Counter)

    def get(self, names: Iterable[str]) -> dict[str, frozenset[PortNumber]]:
        """Return the numbers of the names that any identity has."""
        return {name: frozenset(self._counts[name]) for name in names if name in self._counts}

    def count(self, labels: Mapping[str, str], by: int) -> set[str]:
        """Add (1) or take away (-1) an identity; return the names that changed their numbers."""
        changed = set()
        for name, ports in named_ports.parse(labels.get(named_ports.LABEL, "")).items():
            counts = self._counts[name]
            for port in ports:
                counts[port] += by
                if counts[port] == 0:
                    del counts[port]
                    changed.add(name)
                elif by > 0 and counts[port] == by:
                    changed.add(name)
            if not counts:
                del self._counts[name]
        return changed


class Peers:
    """The table of bits: (identity, word) to the mask of the peer sets that have the identity."""

    def __init__(self) -> None:
        """Start without identities and peer sets."""
        self.numbers = BitNumbers()
        self.bits: dict[BitsAt, int] = {}
        self.changed: dict[BitsAt, int] = {}  # to what it was before the first change
        self.ports = PeerPorts()
        self._labels: dict[int, LabelSet] = {}
        self._places: dict[int, int] = {}  # identity to its item in the label index
        self._items: list[int] = []  # the reverse
        self._spare: list[int] = []
        self._index = LabelIndex()
        self._selectors: SelectorIndex[int] = SelectorIndex()
        self._sets: dict[PeerSet, int] = {}  # to a handle of this process
        self._uses: dict[Use, int] = {}  # to its bit's number
        self._by_set: defaultdict[int, dict[int, None]] = defaultdict(dict)  # handle to numbers
        self._held: Counter[Use] = Counter()
        self._next = 0

    def labels(self, identity: int) -> LabelSet | None:
        """Return an identity's labels (`named_ports.expand`ed), or None when it is unknown."""
        return self._labels.get(identity)

    def words(self, identity: int) -> dict[int, int]:
        """Return an identity's bits by word; none for one that is unknown."""
        labels = self._labels.get(identity)
        return self._words(labels) if labels is not None else {}

    def set_identity(self, identity: int, labels: Mapping[str, str]) -> set[str]:
        """Add an identity or change its labels; return the port names whose numbers changed."""
        expanded = named_ports.expand(labels)
        old = self._labels.get(identity)
        if old == expanded:
            return set()
        renamed = self.ports.count(expanded, 1)
        if old is None:
            item = self._spare.pop() if self._spare else len(self._items)
            self._items[item : item + 1] = [identity]
            self._places[identity] = item
            before: dict[int, int] = {}
        else:
            item = self._places[identity]
            self._index.remove(item, old)
            renamed |= self.ports.count(old, -1)
            before = self._words(old)
        self._labels[identity] = expanded
        self._index.add(item, expanded)
        after = self._words(expanded)
        for word in before.keys() | after.keys():
            if before.get(word, 0) != after.get(word, 0):
                self._write(identity, word, after.get(word, 0))
        return renamed

    def remove_identity(self, identity: int) -> set[str]:
        """Forget an identity; return the port names whose numbers changed."""
        labels = self._labels.pop(identity, None)
        if labels is None:
            return set()
        for word in self._words(labels):
            self._write(identity, word, 0)
        item = self._places.pop(identity)
        self._index.remove(item, labels)
        self._spare.append(item)
        return self.ports.count(labels, -1)

    def hold(self, uses: Iterable[Use]) -> None:
        """Count users of peer sets, which meet on rows; new ones get bits."""
        fresh: dict[Role, dict[Use, None]] = {role: {} for role in Role}
        for use in uses:
            self._held[use] += 1
            fresh[use.role][use] = None
        for role, together in fresh.items():
            if any(use not in self._uses for use in together):
                self._add(role, list(together))

    def release(self, uses: Iterable[Use]) -> None:
        """Take users away; peer sets without any lose their bits."""
        gone = []
        for use in uses:
            self._held[use] -= 1
            if not self._held[use]:
                del self._held[use]
                gone.append(use)
        for use in gone:
            self._remove(use)

    def members(self, peers: PeerSet) -> list[int]:
        """Return the identities of a peer set."""
        return [self._items[item] for item in positions(self._index.select_any(peers))]

    def number(self, use: Use) -> int:
        """Return the bit of a use that is held. KeyError for one that is not."""
        return self._uses[use]

    def uses(self) -> dict[Use, int]:
        """Return all that is held, with the bits' numbers."""
        return dict(self._uses)

    def _add(self, role: Role, uses: list[Use]) -> None:
        numbers = self.numbers.acquire(role, [use_digest(use) for use in uses])
        by_word: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for use, number in zip(uses, numbers, strict=True):
            if use in self._uses:
                continue
            self._uses[use] = number
            self._by_set[self._handle(use.peers)][number] = None
            word, mask = place(number)
            masks = by_word[word]
            for item in positions(self._index.select_any(use.peers)):
                masks[item] = masks.get(item, 0) | mask
        for word, masks in by_word.items():
            for item, mask in masks.items():
                key = self._items[item], word
                old = self.bits.get(key, 0)
                self.changed.setdefault(key, old)
                self.bits[key] = old | mask

    def _remove(self, use: Use) -> None:
        number = self._uses.pop(use)
        handle = self._sets[use.peers]
        del self._by_set[handle][number]
        if not self._by_set[handle]:
            del self._by_set[handle], self._sets[use.peers]
            for selector in use.peers.selectors:
                self._selectors.remove(handle, selector)
        word, mask = place(number)
        for item in positions(self._index.select_any(use.peers)):
            identity = self._items[item]
            self._write(identity, word, self.bits[identity, word] & ~mask)
        self.numbers.release(number)

    def _handle(self, peers: PeerSet) -> int:
        handle = self._sets.get(peers)
        if handle is None:
            self._next += 1
            handle = self._sets[peers] = self._next
            for selector in peers.selectors:
                self._selectors.add(handle, selector)
        return handle

    def _words(self, labels: Mapping[str, str]) -> dict[int, int]:
        words: dict[int, int] = {}
        for handle in self._selectors.match(labels):
            for number in self._by_set[handle]:
                word, mask = place(number)
                words[word] = words.get(word, 0) | mask
        return words

    def _write(self, identity: int, word: int, mask: int) -> None:
        self.changed.setdefault((identity, word), self.bits.get((identity, word), 0))
        if mask:
            self.bits[identity, word] = mask
        else:
            self.bits.pop((identity, word), None)
