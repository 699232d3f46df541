# SPDX-License-Identifier: Apache-2.0
"""Which selectors of toFQDNs match a name, found by what patterns end with. Pure; one writer.

The whole labels behind a pattern's last `*` must be the end of every name that it matches, so a
name is held only against the patterns of its own ends, however many others there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cilium_core.policy.patterns import name_pattern


class Selectors:
    """A set of selectors: names, and patterns with `*`."""

    def __init__(self) -> None:
        """Start empty."""
        self.all: frozenset[str] = frozenset()
        self._by_end: dict[str, list[str]] = {}

    def replace(self, wanted: Iterable[str]) -> None:
        """Make these all selectors."""
        self.all = frozenset(wanted)
        self._by_end = {}
        for text in self.all:
            if "*" in text:
                self._by_end.setdefault(_end(text), []).append(text)

    def matching(self, name: str) -> frozenset[str]:
        """Return the selectors that match a name in the form of `patterns.dns_name`."""
        exact = [name] if name in self.all else []
        if not self._by_end:
            return frozenset(exact)
        found = (text for end in _ends(name) for text in self._by_end.get(end, ()))
        return frozenset([*exact, *(text for text in found if matches(text, name))])


def matches(selector: str, name: str) -> bool:
    """Return whether a selector's text matches a name in the form of `patterns.dns_name`."""
    if "*" not in selector:
        return selector == name
    return name_pattern(selector).fullmatch(name) is not None


def _end(pattern: str) -> str:
    """Return the labels behind the one with the last star; nothing when that is the last."""
    return pattern.rpartition("*")[2].partition(".")[2]


def _ends(name: str) -> Iterator[str]:
    yield ""
    at = -1
    while True:
        yield name[at + 1 :]
        at = name.find(".", at + 1)
        if at < 0:
            return
