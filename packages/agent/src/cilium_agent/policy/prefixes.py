# SPDX-License-Identifier: Apache-2.0
"""Prefixes of policies as rows of the ipcache: implements the keeper's `Prefixes`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_core.addresses import Network
from cilium_core.identity import Reserved, is_local_scope


class IpcachePrefixes:
    """Puts statements of their own source into the fold and carries them out at once."""

    def __init__(self, writer: IpcacheWriter) -> None:
        """Speak for prefixes through the ipcache's one writer."""
        self._writer = writer

    def known(self) -> dict[Network, int]:
        """Return the local identities that the kernel's ipcache holds."""
        rows = self._writer.entries()
        return {net: info.identity for net, info in rows if is_local_scope(info.identity)}

    def identities(self, prefixes: Iterable[Network]) -> dict[Network, int]:
        """Return whose the prefixes' addresses are now; without a row that covers one, the world's.

        Narrower rows inside a prefix are others' and do not count.
        """
        rows = {net: info.identity for net, info in self._writer.entries()}
        return {
            prefix: next((rows[at] for at in _around(prefix) if at in rows), int(Reserved.WORLD))
            for prefix in prefixes
        }

    def show(self, numbers: Mapping[Network, int]) -> None:
        """Make these rows, longest prefixes first: none is ever read through a wider one's."""
        for prefix in sorted(numbers, key=lambda p: -p.prefixlen):
            said = {prefix: Metadata(Source.CIDR, numbers[prefix])}
            self._writer.fold.put(f"cidr/{prefix}", said)
            self._writer.flush()

    def hide(self, prefixes: Sequence[Network]) -> None:
        """Take rows away."""
        for prefix in prefixes:
            self._writer.fold.put(f"cidr/{prefix}", {})
        self._writer.flush()


def _around(prefix: Network) -> Iterator[Network]:
    """Yield the prefix and those that hold it, longest first."""
    for length in range(prefix.prefixlen, -1, -1):
        yield prefix.supernet(new_prefix=length)
