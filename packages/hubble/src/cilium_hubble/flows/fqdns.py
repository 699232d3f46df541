# SPDX-License-Identifier: Apache-2.0
"""DNS names of addresses, as the node's proxy saw answers go by: what pods here call an address.

An address that several names lead to has them all. A name is forgotten a while after its time to
live, for connections outlive answers. Pure, event loop only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilium_core.addresses import pack_address
from cilium_core.proto import flow_pb2
from cilium_hubble.flows.interned import Interned

ADDRESSES = 1 << 14
NAMES = 8  # of one address
_NANO = 1_000_000_000
AFTER = 3600 * _NANO  # how long a name is remembered after its time to live


class Fqdns:
    """Names by address; numbers of tuples of names for rows."""

    def __init__(self, names: Interned[tuple[str, ...]]) -> None:
        """Numbers are of `names`."""
        self._names = names
        self._held: OrderedDict[bytes, OrderedDict[str, int]] = OrderedDict()  # name to its end, ns

    def learn(self, l7: flow_pb2.Layer7, now: int) -> None:
        """Take in an answer of DNS that was seen at a time (ns); others are none of ours."""
        if l7.WhichOneof("record") != "dns" or l7.type != flow_pb2.RESPONSE or l7.dns.rcode:
            return
        name = l7.dns.query.rstrip(".").lower()
        for text in l7.dns.ips:
            try:
                address = pack_address(text)
            except ValueError:
                continue
            names = self._held.setdefault(address, OrderedDict())
            self._held.move_to_end(address)
            names[name] = now + l7.dns.ttl * _NANO + AFTER
            names.move_to_end(name)
            while len(names) > NAMES:
                names.popitem(last=False)
        while len(self._held) > ADDRESSES:
            self._held.popitem(last=False)

    def of(self, addresses: NDArray[Any], now: int) -> NDArray[np.uint32]:
        """Return the numbers of the names of some addresses (rows of 16 bytes)."""
        found = np.zeros(len(addresses), "u4")
        if not self._held or not len(addresses):
            return found
        keys = np.ascontiguousarray(addresses).view("V16").ravel()
        known, places = np.unique(keys, return_inverse=True)
        numbers = [self._number(bytes(key), now) for key in known.tolist()]
        return np.array(numbers, "u4")[places]

    def _number(self, address: bytes, now: int) -> int:
        names = self._held.get(address)
        if names is None:
            return 0
        for name in [name for name, end in names.items() if end < now]:
            del names[name]
        if not names:
            del self._held[address]
            return 0
        return self._names.number(tuple(sorted(names)))
