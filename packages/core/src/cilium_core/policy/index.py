# SPDX-License-Identifier: Apache-2.0
"""Who matches whom, without comparing everyone with everyone.

`LabelIndex` answers "which items does this selector select" with Python integers as bitsets (bit n
is item n). `SelectorIndex` answers the reverse, "which selectors select this label set", looking
only at those that share a label with it. Pure, not thread-safe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from cilium_core.policy.rules import Operator, PeerSet, Requirement, Selector

Handle = TypeVar("Handle", bound=int)


def positions(bitset: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, lowest first."""
    digits = bin(bitset)[:1:-1]
    place = digits.find("1")
    while place >= 0:
        yield place
        place = digits.find("1", place + 1)


class LabelIndex:
    """Items, which are small numbers, by the labels that they have."""

    def __init__(self) -> None:
        """Start empty."""
        self.items = 0
        # (s, b) is the bitset b << s: a value that one item has costs the same for every item.
        self._pairs: dict[tuple[str, str], tuple[int, int]] = {}
        self._keys: defaultdict[str, int] = defaultdict(int)
        self._sources: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, item: int, labels: Mapping[str, str]) -> None:
        """Add an item that is not there yet."""
        bit = 1 << item
        self.items |= bit
        for key, value in labels.items():
            self._pairs[key, value] = _with(self._pairs.get((key, value)), item)
            if not self._keys[key]:
                self._sources[key.partition(":")[2]].add(key)
            self._keys[key] |= bit

    def remove(self, item: int, labels: Mapping[str, str]) -> None:
        """Remove an item; `labels` are those it was added with."""
        bit = 1 << item
        self.items &= ~bit
        for key, value in labels.items():
            shift, bits = self._pairs.pop((key, value))
            if bits := bits & ~(1 << item - shift):
                self._pairs[key, value] = shift, bits
            self._keys[key] &= ~bit
            if not self._keys[key]:
                del self._keys[key]
                self._drop_source(key)

    def select(self, selector: Selector) -> int:
        """Return the items that the selector selects."""
        found = self.items
        for requirement in selector.requirements:
            if not found:
                break
            found &= self._meet(requirement)
        return found

    def select_any(self, peers: PeerSet) -> int:
        """Return the items that any of the selectors selects."""
        found = 0
        for selector in peers.selectors:
            found |= self.select(selector)
        return found

    def _meet(self, requirement: Requirement) -> int:
        source, _, name = requirement.key.partition(":")
        keys = (requirement.key,) if source != "any" else tuple(self._sources.get(name, ()))
        found = 0
        if requirement.operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
            for key in keys:
                found |= self._keys.get(key, 0)
        else:
            for key in keys:
                for value in requirement.values:
                    shift, bits = self._pairs.get((key, value), (0, 0))
                    found |= bits << shift
        if requirement.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST):
            return self.items & ~found
        return found

    def _drop_source(self, key: str) -> None:
        name = key.partition(":")[2]
        self._sources[name].discard(key)
        if not self._sources[name]:
            del self._sources[name]


def _with(held: tuple[int, int] | None, item: int) -> tuple[int, int]:
    if held is None:
        return item, 1
    shift, bits = held
    if item < shift:
        return item, bits << shift - item | 1
    return shift, bits | 1 << item - shift


_Bucket = tuple[str, str | None]  # a key and its value, or None for any value
_ALWAYS: _Bucket = ("", None)


class SelectorIndex(Generic[Handle]):
    """Selectors, each under a number of its owner's choice (several may share one)."""

    def __init__(self) -> None:
        """Start empty."""
        self._buckets: dict[_Bucket, dict[tuple[Handle, Selector], None]] = {}
        self._places: dict[tuple[Handle, Selector], tuple[_Bucket, ...]] = {}

    def add(self, handle: Handle, selector: Selector) -> None:
        """Add a selector; it is filed under the requirement that the fewest others share."""
        choices = [places for r in selector.requirements if (places := _buckets(r)) is not None]
        best = min(choices, key=self._crowd, default=(_ALWAYS,))
        self._places[handle, selector] = best
        for bucket in best:
            self._buckets.setdefault(bucket, {})[handle, selector] = None

    def remove(self, handle: Handle, selector: Selector) -> None:
        """Remove what `add` added."""
        for bucket in self._places.pop((handle, selector)):
            held = self._buckets[bucket]
            del held[handle, selector]
            if not held:
                del self._buckets[bucket]

    def match(self, labels: Mapping[str, str]) -> set[Handle]:
        """Return the handles of which a selector selects the label set."""
        found: set[Handle] = set()
        if not self._places:
            return found
        for bucket in _asked(labels):
            for handle, selector in self._buckets.get(bucket, ()):
                if handle not in found and selector.matches(labels):
                    found.add(handle)
        return found

    def _crowd(self, buckets: tuple[_Bucket, ...]) -> int:
        return sum(len(self._buckets.get(bucket, ())) for bucket in buckets)


def _buckets(requirement: Requirement) -> tuple[_Bucket, ...] | None:
    """Return where a label set that meets the requirement will look; None: it may lack the key."""
    if requirement.operator is Operator.IN:
        return tuple((requirement.key, value) for value in requirement.values)
    if requirement.operator is Operator.EXISTS:
        return ((requirement.key, None),)
    return None


def _asked(labels: Mapping[str, str]) -> Iterator[_Bucket]:
    yield _ALWAYS
    for key, value in labels.items():
        anywhere = "any:" + key.partition(":")[2]
        yield from ((key, value), (key, None), (anywhere, value), (anywhere, None))
