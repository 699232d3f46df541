# SPDX-License-Identifier: Apache-2.0
"""Port intervals as the fewest prefixes of a longest-prefix map. Pure.

A prefix may overrule part of a shorter one, so "all ports but 80" is two rows, not seventeen. The
method is the known one for routing tables: from the leaves up, what a prefix could say so that
least is left to say below it; then from the root down, saying only what is not inherited.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

PORT_BITS = 16


class Prefix(NamedTuple):
    """The ports whose leading `bits` bits are those of `port` say `content`."""

    port: int
    bits: int
    content: int


class _Node(NamedTuple):
    port: int
    bits: int
    choices: frozenset[int]
    halves: tuple[_Node, ...]


def prefixes(starts: Sequence[int], contents: Sequence[int], inherited: int) -> list[Prefix]:
    """Return prefixes, shortest first on each path, that say `contents[n]` from `starts[n]` on.

    `starts` ascends from 0; `inherited` is what ports say that no prefix covers. Where choices
    are equally good the inherited or else the smallest content is taken.
    """
    found: list[Prefix] = []
    _say(_node(0, 0, starts, contents), inherited, found)
    return found


def _node(port: int, bits: int, starts: Sequence[int], contents: Sequence[int]) -> _Node:
    size = 1 << PORT_BITS - bits
    first = bisect_right(starts, port) - 1
    if first + 1 == len(starts) or starts[first + 1] >= port + size:
        return _Node(port, bits, frozenset((contents[first],)), ())
    low = _node(port, bits + 1, starts, contents)
    high = _node(port + size // 2, bits + 1, starts, contents)
    both = low.choices & high.choices
    return _Node(port, bits, both or low.choices | high.choices, (low, high))


def _say(node: _Node, inherited: int, found: list[Prefix]) -> None:
    if inherited not in node.choices:
        inherited = min(node.choices)
        found.append(Prefix(node.port, node.bits, inherited))
    for half in node.halves:
        _say(half, inherited, found)
