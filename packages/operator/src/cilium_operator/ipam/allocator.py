# SPDX-License-Identifier: Apache-2.0
"""Which node owns which pod CIDR. The truth is in the CiliumNode objects; this is its memory.

`adopt` takes over what an object says, `wanted` says what the object should hold in addition.
Ownership sticks to the node's name until `forget`, so that a write whose answer was lost, a
late event or a CiliumNode that is created anew for the same node all lead to the same CIDRs.
Pure; one task uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from cilium_core.addresses import Network
from cilium_core.cidr import overlaps
from cilium_operator.errors import PoolExhausted
from cilium_operator.ipam.pool import Pool


class Conflict(msgspec.Struct, frozen=True):
    """A CIDR that a node lists although another node owns an overlapping one."""

    network: Network
    owner: str
    owned: Network

    def __str__(self) -> str:
        """The text for the node's status."""
        return f"pod CIDR {self.network} overlaps {self.owned}, which belongs to node {self.owner}"


class Allocator:
    """Owners of CIDRs over one pool per family."""

    def __init__(self, pools: Mapping[int, Pool]) -> None:
        """Start with nothing owned; adopt every existing object before asking for more."""
        self.pools = dict(pools)
        self._owner: dict[Network, str] = {}
        self._nodes: dict[str, set[Network]] = {}
        self._odd: set[Network] = set()
        self._reserved: tuple[Network, ...] = ()

    def owned(self, node: str) -> list[Network]:
        """Return what a node owns, IPv4 first, in address order."""
        return sorted(self._nodes.get(node, ()), key=_order)

    def nodes(self) -> list[str]:
        """Return the names of the nodes that own something."""
        return list(self._nodes)

    def adopt(self, node: str, listed: Sequence[Network]) -> list[Conflict]:
        """Take over the CIDRs that the node's object lists; return those that others own.

        What the node owned of a family of which the list has other CIDRs is given back.
        """
        families = {network.version for network in listed}
        for network in self.owned(node):
            if network not in listed and network.version in families:
                self._disown(network)
        conflicts = []
        for network in listed:
            conflict = self._conflict(node, network)
            if conflict is not None:
                conflicts.append(conflict)
            else:
                self._own(node, network)
        return conflicts

    def wanted(self, node: str, listed: Sequence[Network]) -> list[Network]:
        """Return the CIDRs that the object lacks, one for each family that it has none of.

        They are owned by the node from now on. PoolExhausted when a family has none left;
        what other families gave stays owned and is returned by the next call.
        """
        missing: list[Network] = []
        exhausted: PoolExhausted | None = None
        present = {network.version for network in listed}
        for family, pool in self.pools.items():
            if family in present:
                continue
            mine = [network for network in self.owned(node) if network.version == family]
            if not mine:
                number = pool.lowest_free()
                if number is None:
                    names = ", ".join(str(network) for network in pool.networks)
                    exhausted = PoolExhausted(family, names)
                    continue
                mine = [pool.block(number)]
                self._own(node, mine[0])
            missing += mine
        if exhausted is not None and not missing:
            raise exhausted
        return missing

    def forget(self, node: str) -> bool:
        """Give back all that a node owns. True when there was something."""
        networks = self._nodes.pop(node, set())
        for network in networks:
            self._free(network)
        return bool(networks)

    def reserve(self, networks: Iterable[Network]) -> None:
        """Replace the networks that no block may touch; blocks that are owned stay so."""
        self._reserved = tuple(networks)
        self._reserve_all()

    def owners_touching(self, network: Network) -> list[tuple[str, Network]]:
        """Return (node, CIDR) of what is owned and shares an address with the network."""
        found = [odd for odd in self._odd if overlaps(odd, network)]
        pool = self.pools.get(network.version)
        if pool is not None:
            for numbers in pool.numbers(network):
                small = len(numbers) <= len(pool.used)
                inside = (
                    [number for number in numbers if number in pool.used]
                    if small
                    else [number for number in pool.used if number in numbers]
                )
                found += [pool.block(number) for number in inside]
        return [(self._owner[one], one) for one in sorted(found, key=_order)]

    def _conflict(self, node: str, network: Network) -> Conflict | None:
        for owner, owned in self.owners_touching(network):
            if owner != node:
                return Conflict(network, owner, owned)
        return None

    def _own(self, node: str, network: Network) -> None:
        self._nodes.setdefault(node, set()).add(network)
        if self._owner.get(network) == node:
            return
        self._owner[network] = node
        number = self._number(network)
        if number is not None:
            self.pools[network.version].take(number)
        else:
            self._odd.add(network)
            self._reserve_all()

    def _disown(self, network: Network) -> None:
        node = self._owner[network]
        self._nodes[node].discard(network)
        if not self._nodes[node]:
            del self._nodes[node]
        self._free(network)

    def _free(self, network: Network) -> None:
        del self._owner[network]
        number = self._number(network)
        if number is not None:
            self.pools[network.version].give_back(number)
        else:
            self._odd.discard(network)
            self._reserve_all()

    def _number(self, network: Network) -> int | None:
        pool = self.pools.get(network.version)
        return None if pool is None else pool.exact(network)

    def _reserve_all(self) -> None:
        for pool in self.pools.values():
            pool.reserve((*self._reserved, *self._odd))


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
