# SPDX-License-Identifier: Apache-2.0
"""Which bit of which word a peer set has.

A peer set has one bit for each role in which rows use it, and the two low bits of a word's number
say the role of its bits. So the words of one identity can be written in an order (deny, L7, allow)
of which no half lets a packet through, and each is written once. Peer sets that meet on a row
should share words: a row reads one word for each cell. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from cilium_core.policy.numbers import Numbers, digest
from cilium_core.policy.rules import PeerSet

WORD_BITS = 64
ROLE_BITS = 2
FEW = 16  # peer sets on one policy that share their words with those of others
GROWTH = 4  # free bits beyond those wanted, for what later meets on the same rows
_FULL = (1 << WORD_BITS) - 1


class Role(IntEnum):
    """What a row does with the peers of a bit; the low bits of the word's number."""

    ALLOW = 0
    DENY = 1
    L7 = 2


_ROLES = tuple(Role)  # a look-up, since calling an enumeration costs more than a row's other parts


class Use(NamedTuple):
    """A peer set in one role: what a bit stands for."""

    peers: PeerSet
    role: Role


def role_of(word: int) -> Role:
    """Return the role of all bits of a word."""
    return _ROLES[word & (1 << ROLE_BITS) - 1]


def place(number: int) -> tuple[int, int]:
    """Return the word of a bit's number and the mask of the bit in it."""
    return number // WORD_BITS, 1 << number % WORD_BITS


def use_digest(use: Use) -> bytes:
    """Return the 128-bit name of a use: equal for equal selectors, in any process."""
    selectors = sorted(
        ";".join(f"{r.key} {r.operator} {','.join(map(repr, r.values))}" for r in s.requirements)
        for s in use.peers.selectors
    )
    return digest("\n".join((use.role.name, *selectors)))


class BitNumbers(Numbers):
    """Numbers of bits: `word * 64 + bit`."""

    def __init__(self) -> None:
        """Start with all words empty."""
        super().__init__()
        self._free: dict[int, int] = {}  # every word ever used: the mask of its free bits
        self._private: set[int] = set()  # words that only what meets with their first bits may use
        self._fresh = {role: int(role) for role in Role}  # each role's first word never used

    def acquire(self, role: Role, contents: Sequence[bytes]) -> list[int]:
        """Return the numbers of contents of one role that meet on rows, close to each other."""
        held = [number for c in contents if (number := self._numbers.get(c)) is not None]
        near = list(dict.fromkeys(number // WORD_BITS for number in held))
        missing = [content for content in dict.fromkeys(contents) if content not in self._numbers]
        for n, content in enumerate(missing):
            while near and not self._free[near[-1]]:
                near.pop()
            if not near:
                near.append(self._word(role, len(missing) - n, len(contents)))
            free = self._free[near[-1]]
            self._assign(near[-1] * WORD_BITS + (free & -free).bit_length() - 1, content)
        return [number for c in contents if (number := self._claim(c)) is not None]

    def _word(self, role: Role, wanted: int, together: int) -> int:
        """Return a word for `wanted` more bits, out of `together` that meet.

        Many have words to themselves, so that they stay together however they grow. Few share
        the fullest word that has room for them and a little more, so that words are not wasted.
        """
        if together <= FEW:
            shared = (
                (room, word)
                for word, free in self._free.items()
                if role_of(word) is role and word not in self._private
                if (room := free.bit_count()) >= min(wanted + GROWTH, WORD_BITS)
            )
            if best := min(shared, default=None):
                return best[1]
        empty = (w for w, free in self._free.items() if role_of(w) is role and free == _FULL)
        word = next(empty, self._fresh[role])
        if word == self._fresh[role]:
            self._free[word] = _FULL
            self._fresh[role] += 1 << ROLE_BITS
        if together > FEW:
            self._private.add(word)
        return word

    def _occupy(self, number: int) -> None:
        word, mask = place(number)
        role = role_of(word)
        for between in range(self._fresh[role], word + 1, 1 << ROLE_BITS):
            self._free[between] = _FULL
        self._fresh[role] = max(self._fresh[role], word + (1 << ROLE_BITS))
        self._free[word] &= ~mask

    def _vacate(self, number: int) -> None:
        word, mask = place(number)
        self._free[word] |= mask
        if self._free[word] == _FULL:
            self._private.discard(word)
