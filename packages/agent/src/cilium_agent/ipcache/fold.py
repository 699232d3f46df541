# SPDX-License-Identifier: Apache-2.0
"""What is known of each prefix, by source, folded into one row.

Several objects may speak of one prefix (an API server's address may be a node's). The strongest
source wins, whatever the order of events; inside one source the newest, then the resource whose
name sorts first. So the result depends on the present statements only. One owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from cilium_core.addresses import Address, Network


class Source(IntEnum):
    """Who speaks; the greater number wins."""

    WORLD = 0
    CIDR = 1  # prefixes that policies name
    FQDN = 2  # addresses that DNS gave for names of policies, with the labels of prefixes around
    NODE = 3  # remote nodes' own addresses
    KUBE_APISERVER = 4  # of which some are nodes too
    HOST = 5  # this node's own addresses
    POD = 6


class Metadata(NamedTuple):
    """A statement about a prefix. `tunnel` is the node to encapsulate to, None for none.

    `since` (RFC 3339 text) orders statements of one source: of two pods with one address, the
    newer has it.
    """

    source: Source
    identity: int
    tunnel: Address | None = None
    since: str = ""


class PrefixFold:
    """Statements by (prefix, resource), and the prefixes whose row may have changed."""

    def __init__(self) -> None:
        """Start with no statement."""
        self._statements: dict[Network, dict[str, Metadata]] = {}
        self._by_resource: dict[str, set[Network]] = {}
        self._dirty: set[Network] = set()

    def put(self, resource: str, statements: dict[Network, Metadata]) -> None:
        """Make these all that `resource` says; an empty dict takes everything back."""
        before = self._by_resource.get(resource, set())
        for prefix in before - statements.keys():
            del self._statements[prefix][resource]
            if not self._statements[prefix]:
                del self._statements[prefix]
            self._dirty.add(prefix)
        for prefix, metadata in statements.items():
            held = self._statements.setdefault(prefix, {})
            if held.get(resource) != metadata:
                held[resource] = metadata
                self._dirty.add(prefix)
        if statements:
            self._by_resource[resource] = set(statements)
        else:
            self._by_resource.pop(resource, None)

    def winner(self, prefix: Network) -> Metadata | None:
        """Return the row of a prefix, None when nothing is said of it."""
        return self.said(prefix)[0]

    def speaker(self, prefix: Network) -> str:
        """Return the resource whose statement is a prefix's row, empty when nothing is said."""
        return self.said(prefix)[1]

    def said(self, prefix: Network) -> tuple[Metadata | None, str]:
        """Return a prefix's row and the resource whose statement it is."""
        held = self._statements.get(prefix)
        if not held:
            return None, ""
        if len(held) == 1:
            ((name, metadata),) = held.items()
            return metadata, name
        best = max((said.source, said.since) for said in held.values())
        name = min(name for name, said in held.items() if (said.source, said.since) == best)
        return held[name], name

    def take_dirty(self) -> set[Network]:
        """Return the prefixes touched since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def mark_dirty(self, prefixes: set[Network]) -> None:
        """Have the prefixes taken again (they could not be written)."""
        self._dirty |= prefixes

    def rows(self) -> Iterator[tuple[Network, Metadata]]:
        """Yield every prefix with its row."""
        for prefix in self._statements:
            found = self.winner(prefix)
            if found is not None:
                yield prefix, found
