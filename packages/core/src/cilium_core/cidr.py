# SPDX-License-Identifier: Apache-2.0
"""CIDR arithmetic: parsing that names the field, overlap, and blocks numbered inside a pool.

A block is the `index`-th network of `mask` bits in a pool, counted from the pool's first
address. Working with numbers keeps every operation O(1), whatever the pool's size.
Pure functions, no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations

from cilium_core.addresses import Network
from cilium_core.errors import FieldError


def parse_network(field: str, text: str) -> Network:
    """Return the network written as `text`. FieldError (naming `field`) for anything else.

    Host bits that are set are an error: `10.0.0.1/24` is more often a slip than a wish.
    """
    try:
        return ip_network(text.strip(), strict=True)
    except ValueError as error:
        raise FieldError(field, f"{text.strip()!r} is not a CIDR: {error}") from error


def family(network: Network) -> int:
    """Return 4 or 6."""
    return network.version


def overlaps(one: Network, other: Network) -> bool:
    """Tell whether two networks share an address; never true across families."""
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def first_overlap(networks: Sequence[Network]) -> tuple[Network, Network] | None:
    """Return one pair of the networks that overlap (in the given order), or None."""
    for one, other in combinations(networks, 2):
        if overlaps(one, other):
            return one, other
    return None


def block_count(pool: Network, mask: int) -> int:
    """Return how many networks of `mask` bits the pool holds. FieldError when it holds none."""
    if not pool.prefixlen <= mask <= pool.max_prefixlen:
        raise FieldError(
            "mask", f"/{mask} does not divide {pool}; use {pool.prefixlen} to {pool.max_prefixlen}"
        )
    return 1 << (mask - pool.prefixlen)


def block_at(pool: Network, mask: int, index: int) -> Network:
    """Return block number `index` (0 <= index < block_count) of the pool."""
    start = int(pool.network_address) + (index << (pool.max_prefixlen - mask))
    return IPv4Network((start, mask)) if pool.version == 4 else IPv6Network((start, mask))


def blocks_touched(pool: Network, mask: int, network: Network) -> range:
    """Return the numbers of the pool's blocks that share an address with `network`.

    Empty when they are apart or of different families. A network larger than the pool
    touches all of them; one smaller than a block touches that one.
    """
    if not overlaps(pool, network):
        return range(0)
    shift = pool.max_prefixlen - mask
    base = int(pool.network_address)
    low = max(int(network.network_address), base)
    high = min(int(network.broadcast_address), int(pool.broadcast_address))
    return range((low - base) >> shift, ((high - base) >> shift) + 1)


def merge_ranges(ranges: Iterable[range]) -> list[range]:
    """Return the union of step-1 ranges as sorted ranges that neither touch nor overlap."""
    merged: list[range] = []
    for one in sorted((r for r in ranges if r), key=lambda r: r.start):
        if merged and one.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, one.stop))
        else:
            merged.append(one)
    return merged
