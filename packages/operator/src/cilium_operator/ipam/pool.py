# SPDX-License-Identifier: Apache-2.0
"""The ranges of one family as one row of numbered blocks, with a search for the lowest free one.

Blocks of all ranges are numbered through in the order of the configuration. A pool may hold
2^64 blocks: nothing here is proportional to its size, only to what is used or reserved.
Pure; one owner at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from cilium_core.addresses import Network
from cilium_core.cidr import block_at, block_count, blocks_touched, merge_ranges, overlaps


class Pool:
    """Blocks of `mask` bits in some ranges that do not overlap."""

    def __init__(self, networks: Iterable[Network], mask: int) -> None:
        """Number the blocks; nothing is used or reserved yet."""
        self.networks = tuple(networks)
        self.mask = mask
        self.used: set[int] = set()
        self._starts: list[int] = []
        self.size = 0
        for network in self.networks:
            self._starts.append(self.size)
            self.size += block_count(network, mask)
        self._reserved: list[range] = []
        self._reserved_starts: list[int] = []
        self._cursor = 0

    def block(self, number: int) -> Network:
        """Return the network of a block number."""
        which = bisect_right(self._starts, number) - 1
        return block_at(self.networks[which], self.mask, number - self._starts[which])

    def numbers(self, network: Network) -> list[range]:
        """Return the numbers of the blocks that share an address with the network."""
        touched = []
        for start, pool in zip(self._starts, self.networks, strict=True):
            inside = blocks_touched(pool, self.mask, network)
            if inside:
                touched.append(range(start + inside.start, start + inside.stop))
        return touched

    def covers(self, network: Network) -> bool:
        """Tell whether a network of this family lies inside one of the ranges."""
        return any(
            network.prefixlen >= one.prefixlen and overlaps(network, one) for one in self.networks
        )

    def exact(self, network: Network) -> int | None:
        """Return the number of the block that is this very network, or None."""
        if network.prefixlen != self.mask:
            return None
        found = self.numbers(network)
        return found[0].start if found else None

    def take(self, number: int) -> None:
        """Mark a block as used."""
        self.used.add(number)

    def give_back(self, number: int) -> None:
        """Mark a block as free again."""
        self.used.discard(number)
        self._cursor = min(self._cursor, number)

    def reserve(self, networks: Iterable[Network]) -> None:
        """Replace the set of networks whose blocks are never given out."""
        self._reserved = merge_ranges(r for network in networks for r in self.numbers(network))
        self._reserved_starts = [reserved.start for reserved in self._reserved]
        self._cursor = 0

    def lowest_free(self) -> int | None:
        """Return the lowest block that is neither used nor reserved, or None."""
        number = self._cursor
        while number < self.size:
            reserved = self._reserved_around(number)
            if reserved is not None:
                number = reserved.stop
            elif number in self.used:
                number += 1
            else:
                self._cursor = number
                return number
        self._cursor = number
        return None

    def free_count(self) -> int:
        """Return how many blocks may still be given out. Proportional to what is used."""
        used = sum(1 for number in self.used if self._reserved_around(number) is None)
        return self.size - used - sum(len(reserved) for reserved in self._reserved)

    def _reserved_around(self, number: int) -> range | None:
        which = bisect_right(self._reserved_starts, number) - 1
        if which >= 0 and number in self._reserved[which]:
            return self._reserved[which]
        return None
