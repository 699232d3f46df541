# SPDX-License-Identifier: Apache-2.0
"""Port intervals as the fewest prefixes of a longest-prefix map. Pure.

A prefix may overrule part of a shorter one, so "all ports but 80" is two rows, not seventeen. The
method is the known one for routing tables: from the leaves up, what a prefix could say so that
least is left to say below it; then from the root down, saying only what is not inherited.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

PORT_BITS = 16


class Prefix(NamedTuple):
    """The ports whose leading `bits` bits are those of `port` say `content`."""

    port: int
    bits: int
    content: int


def prefixes(starts: Sequence[int], contents: Sequence[int], inherited: int) -> list[Prefix]:
    """Return prefixes, shortest first on each path, that say `contents[n]` from `starts[n]` on.

    `starts` ascends from 0; `inherited` is what ports say that no prefix covers. Where choices
    are equally good the inherited or else the smallest content is taken.
    """
    found: list[Prefix] = []
    root = _Tree(starts, contents).node(0, 1 << PORT_BITS, 0, len(starts))
    _say(root, 0, 0, inherited, found)
    return found


# What one prefix could say so that least is left to say below it, and its halves if they differ.
# Plain tuples: a port in the middle of nowhere is 33 nodes, and there are many such ports.
_Node = tuple[frozenset[int], "_Node | None", "_Node | None"]


class _Tree:
    def __init__(self, starts: Sequence[int], contents: Sequence[int]) -> None:
        self._starts = starts
        same = {content: (frozenset((content,)), None, None) for content in contents}
        self._leaves: list[_Node] = [same[content] for content in contents]

    def node(self, port: int, size: int, begin: int, end: int) -> _Node:
        """Return the node of `size` ports, on which lie the intervals `begin` to before `end`."""
        if end - begin == 1:
            return self._leaves[begin]
        size >>= 1
        middle = port + size
        cut = bisect_left(self._starts, middle, begin + 1, end)
        over = cut == end or self._starts[cut] != middle  # an interval goes on over the middle
        low = self.node(port, size, begin, cut)
        high = self.node(middle, size, cut - over, end)
        return low[0] & high[0] or low[0] | high[0], low, high


def _say(node: _Node, port: int, bits: int, inherited: int, found: list[Prefix]) -> None:
    choices, low, high = node
    if inherited not in choices:
        inherited = min(choices)
        found.append(Prefix(port, bits, inherited))
    if low is not None and high is not None:
        bits += 1
        _say(low, port, bits, inherited, found)
        _say(high, port | 1 << PORT_BITS - bits, bits, inherited, found)
