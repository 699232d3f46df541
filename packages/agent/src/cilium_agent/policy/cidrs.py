# SPDX-License-Identifier: Apache-2.0
"""Identities of this node alone: for the prefixes that policies and CIDR groups name.

A prefix keeps its number as long as anything names it, over restarts too (the ipcache tells which
it had). A number is not given again while this process lives, so that no connection or row of an
old prefix can mean a new one. Pure; one owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cilium_core.addresses import Network
from cilium_core.identity import LOCAL_SCOPE
from cilium_core.labels import LabelSet

FIRST = LOCAL_SCOPE + 1
LAST = 2 * LOCAL_SCOPE - 1


class LocalIdentitiesExhausted(RuntimeError):
    """Every number of local scope was given out by this process: it must start anew."""


@dataclass(slots=True)
class Change:
    """What became of prefixes: identities with new or other labels, and prefixes without one."""

    set: dict[int, LabelSet] = field(default_factory=dict)
    gone: dict[Network, int] = field(default_factory=dict)


class CidrIdentities:
    """Prefix to number, and number to labels."""

    def __init__(self, labels_of: Callable[[Network], LabelSet]) -> None:
        """`labels_of` says which labels the identity of a prefix carries now."""
        self._labels_of = labels_of
        self._numbers: dict[Network, int] = {}
        self._labels: dict[int, LabelSet] = {}
        self._next = FIRST

    def adopt(self, numbers: Mapping[Network, int]) -> None:
        """Take over what an earlier process gave out; call before `update`.

        A number that several prefixes have was that of addresses of names, and nobody remembers of
        which: it stands for nothing.
        """
        self.reserve(numbers.values())
        counts = Counter(numbers.values())
        self._numbers.update({p: number for p, number in numbers.items() if counts[number] == 1})

    def reserve(self, numbers: Iterable[int]) -> None:
        """Take over that numbers were given by an earlier process, for whatever."""
        self._next = max((self._next, *(number + 1 for number in numbers)))

    @property
    def numbers(self) -> Mapping[Network, int]:
        """Every prefix that has an identity."""
        return self._numbers

    @property
    def labels(self) -> Mapping[int, LabelSet]:
        """The labels of every identity that `update` has looked at."""
        return self._labels

    def update(self, wanted: Iterable[Network]) -> Change:
        """Give each wanted prefix its identity and take the others' away."""
        change = Change()
        keep = set(wanted)
        for prefix in sorted(keep, key=str):
            labels = self._labels_of(prefix)
            number = self._numbers.get(prefix)
            if number is None:
                number = self._numbers[prefix] = self.draw()
            if self._labels.get(number) != labels:
                self._labels[number] = labels
                change.set[number] = labels
        for prefix in self._numbers.keys() - keep:
            number = self._numbers.pop(prefix)
            self._labels.pop(number, None)
            change.gone[prefix] = number
        return change

    def draw(self) -> int:
        """Return a number that was not given before. LocalIdentitiesExhausted after the last."""
        if self._next > LAST:
            raise LocalIdentitiesExhausted("all numbers of local identities were given out")
        self._next += 1
        return self._next - 1
