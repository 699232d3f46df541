# SPDX-License-Identifier: Apache-2.0
"""The connection table from outside: a listing, and the removal of what is over.

The kernel makes, judges and renews entries and takes one past its time for absent; removal only
gives the memory back. Walking a full table takes some tenths of a second: call in a thread.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from cilium_agent.datapath.maps import PinnedMap
from cilium_core.layouts.policy import ConnectionInfo, ConnectionKey

Connections = PinnedMap[ConnectionKey, ConnectionInfo]

FIRST_INTERVAL = 300.0  # seconds between two collections
SHORTEST_INTERVAL = 10.0
LONGEST_INTERVAL = 43200.0
_EGRESS = 2
_ENDS = struct.Struct(f"=16s16s5xB{ConnectionKey.SIZE - 38}x")
_EXPIRES = struct.Struct(f"=I{ConnectionInfo.SIZE - 4}x")  # the value's first member


class Collected(NamedTuple):
    """What one collection saw and removed, in entries."""

    seen: int
    removed: int


def now() -> int:
    """Return the second that the kernel compares `expires` with."""
    return int(time.clock_gettime(time.CLOCK_MONOTONIC))


def collect(connections: Connections) -> Collected:
    """Remove the entries whose time is over."""
    seen = removed = 0
    for keys, values in connections.batches():
        moment = now()
        size = ConnectionKey.SIZE
        for index, (expires,) in enumerate(_EXPIRES.iter_unpack(values)):
            seen += 1
            if expires <= moment:
                removed += _remove(connections, keys[index * size : (index + 1) * size])
    return Collected(seen, removed)


def _remove(connections: Connections, raw: bytes) -> bool:
    # A connection may have begun anew since the batch was read.
    key = ConnectionKey.unpack(raw)
    found = connections.lookup(key)
    if found is None or found.expires > now():
        return False
    connections.delete_many([key])
    return True


def next_interval(last: float, collected: Collected) -> float:
    """Return the seconds to wait: shorter after much was removed, longer after next to nothing."""
    share = collected.removed / collected.seen if collected.seen else 0.0
    if share > 0.25:
        return max(SHORTEST_INTERVAL, last * (1 - min(share, 0.9)))
    if share < 0.05:
        return min(LONGEST_INTERVAL, last * 1.5)
    return last


def purge(flows: PinnedMap[Any, Any], addresses: set[bytes]) -> int:
    """Remove every entry from or to the addresses (16 bytes each); return how many.

    The map's key begins with the two addresses of a flow, whichever map it is.
    """
    key = flows.spec.key
    pairs = struct.Struct(f"=16s16s{key.SIZE - 32}x")
    doomed = []
    for keys, _ in flows.batches():
        for index, pair in enumerate(pairs.iter_unpack(keys)):
            if not addresses.isdisjoint(pair):
                at = index * key.SIZE
                doomed.append(key.unpack(keys[at : at + key.SIZE]))
    flows.delete_many(doomed)
    return len(doomed)


def opened(connections: Connections, by: set[bytes]) -> dict[bytes, set[bytes]]:
    """Return whom these endpoints have live connections to, of those that they opened (16 bytes).

    A proxy's leg is the endpoint's, too: it has the endpoint's address.
    """
    found: dict[bytes, set[bytes]] = {}
    for keys, values in connections.batches():
        moment = now()
        ends = _ENDS.iter_unpack(keys)
        for (local, peer, direction), (expires,) in zip(
            ends, _EXPIRES.iter_unpack(values), strict=True
        ):
            if direction == _EGRESS and local in by and expires > moment:
                found.setdefault(local, set()).add(peer)
    return found


def listing(connections: Connections) -> Iterator[tuple[ConnectionKey, ConnectionInfo]]:
    """Yield the connections that are alive."""
    moment = now()
    return ((key, info) for key, info in connections.items() if info.expires > moment)
