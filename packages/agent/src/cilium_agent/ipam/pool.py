# SPDX-License-Identifier: Apache-2.0
"""This node's pod addresses of both families; implements `ports.AddressPool`.

An owner holds at most one address of each family. All calls are immediate and come from the
agent's event loop; nothing is stored here, restore claims what the endpoint table holds. Pods that
run keep their addresses when the node's CIDR changes or a family is switched off: such an address
is claimed too, and known as one outside of the CIDRs.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from cilium_agent.errors import AddressTaken, PoolExhausted
from cilium_agent.ipam.family import FamilyPool
from cilium_agent.model import NodeAddressing
from cilium_core.addresses import Address


class NodePool:
    """The families in use on this node."""

    def __init__(self, v4: FamilyPool | None, v6: FamilyPool | None) -> None:
        """Give out addresses of the given families. ValueError when there is none."""
        if v4 is None and v6 is None:
            raise ValueError("this node has no pod CIDR of any family")
        self.v4 = v4
        self.v6 = v6
        self._outside: dict[Address, str] = {}

    @classmethod
    def of(cls, addressing: NodeAddressing) -> NodePool:
        """Make the pool of a node's pod CIDRs and router addresses."""
        v4 = v6 = None
        if addressing.pod_v4 is not None and addressing.router_v4 is not None:
            v4 = FamilyPool(addressing.pod_v4, addressing.router_v4)
        if addressing.pod_v6 is not None and addressing.router_v6 is not None:
            v6 = FamilyPool(addressing.pod_v6, addressing.router_v6)
        return cls(v4, v6)

    def allocate(self, owner: str) -> tuple[IPv4Address | None, IPv6Address | None]:
        """Give the owner a free address of each family, or none at all.

        PoolExhausted names the CIDR; AddressTaken when the owner has addresses already.
        """
        if owner in self.owners():
            raise AddressTaken(f"{owner} holds addresses already; release them first")
        v4 = self.v4.allocate(owner) if self.v4 else None
        try:
            v6 = self.v6.allocate(owner) if self.v6 else None
        except PoolExhausted:
            self.release(owner)
            raise
        assert v4 is None or isinstance(v4, IPv4Address)
        assert v6 is None or isinstance(v6, IPv6Address)
        return v4, v6

    def claim(self, address: Address, owner: str) -> None:
        """Take a known address, of the CIDRs or not. AddressTaken names its present owner."""
        pool = self.v4 if isinstance(address, IPv4Address) else self.v6
        if pool is not None and pool.contains(address):
            pool.claim(address, owner)
            return
        holder = self._outside.setdefault(address, owner)
        if holder != owner:
            raise AddressTaken(f"{address} belongs to {holder}, not to {owner}")

    def resume(self, v4: IPv4Address | None, v6: IPv6Address | None) -> None:
        """Go on after the addresses given out last before a restart; call it when all is claimed.

        A family whose last one is not known goes on after the highest that is in use.
        """
        for pool, last in ((self.v4, v4), (self.v6, v6)):
            if pool is not None:
                pool.resume(last)

    def outside(self) -> list[Address]:
        """Return the addresses in use that no CIDR holds: each needs a route of its own."""
        return [a for a in self._outside if not any(a in pool.network for pool in self._pools())]

    def release(self, owner: str) -> None:
        """Free all addresses of the owner; none is not an error."""
        for pool in self._pools():
            pool.release(owner)
        self._outside = {a: holder for a, holder in self._outside.items() if holder != owner}

    def owners(self) -> set[str]:
        """Return everyone who holds an address, routers left out."""
        held = {holder for pool in self._pools() for holder in pool.holders()}
        return held | set(self._outside.values())

    def dump(self) -> dict[Address, str]:
        """Return the owner of every address in use, IPv4 first, routers included."""
        held = {a: owner for pool in self._pools() for a, owner in pool.dump().items()}
        held |= self._outside
        return {a: held[a] for a in sorted(held, key=lambda a: (a.version, int(a)))}

    def _pools(self) -> list[FamilyPool]:
        return [pool for pool in (self.v4, self.v6) if pool is not None]
