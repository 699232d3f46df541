# SPDX-License-Identifier: Apache-2.0
"""One family's addresses of this node's pod CIDR, given out in turn.

The cursor only moves on, over restarts too (`resume`), so that an address that was freed is the
last to be given out again: connections and caches that still name it, on this node and others, die
out first. Pure state, no locking: the agent's event loop is the only caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cilium_agent.errors import AddressTaken, PoolExhausted
from cilium_core.addresses import Address, Network

RESERVED_FIRST = "network address"
RESERVED_LAST = "last address"
ROUTER = "router"


class FamilyPool:
    """Owners by address of one CIDR; the first, the last and the router address are never given."""

    def __init__(self, network: Network, router: Address) -> None:
        """Give out addresses of `network`. ValueError when the router is not a host in it."""
        if router not in network or router in (network[0], network[-1]):
            raise ValueError(f"router address {router} is not a host address of {network}")
        self.network = network
        self.router = router
        self._size = network.num_addresses
        self._base = int(network[0])
        self._router = int(router) - self._base
        self._owners: dict[int, str] = {}
        self._next = 1

    @property
    def capacity(self) -> int:
        """How many pods the CIDR has room for."""
        return self._size - 3

    @property
    def used(self) -> int:
        """How many addresses have an owner."""
        return len(self._owners)

    def allocate(self, owner: str) -> Address:
        """Give the next free address to the owner. PoolExhausted names the CIDR."""
        if self.used >= self.capacity:
            raise PoolExhausted(
                f"pod CIDR {self.network} has no free address ({self.used} of {self.capacity} "
                "in use); delete pods on this node or give nodes a larger "
                f"cluster-pool-ipv{self.network.version}-mask-size"
            )
        offset = self._next
        while not self._free(offset):
            offset = self._after(offset)
        self._owners[offset] = owner
        self._next = self._after(offset)
        return self.network[offset]

    def claim(self, address: Address, owner: str) -> None:
        """Take a known address for the owner, who may hold it already.

        AddressTaken when another has it, when it is reserved or outside the CIDR.
        """
        if address not in self.network:
            raise AddressTaken(f"{address} is outside this node's pod CIDR {self.network}")
        offset = int(address) - self._base
        holder = self._reserved(offset) or self._owners.get(offset, owner)
        if holder != owner:
            raise AddressTaken(f"{address} belongs to {holder}, not to {owner}")
        self._owners[offset] = owner

    def contains(self, address: Address) -> bool:
        """Tell whether this is a host address of the CIDR: one to give out, or the router's."""
        return address in self.network and address not in (self.network[0], self.network[-1])

    def resume(self, last: Address | None) -> None:
        """Go on after the address given out last before a restart.

        When that is not known, or of another CIDR, after the highest one that is in use.
        """
        if last is not None and self.contains(last):
            self._next = self._after(int(last) - self._base)
        elif self._owners:
            self._next = self._after(max(self._owners))

    def release(self, owner: str) -> None:
        """Free all addresses of the owner."""
        for offset in [o for o, holder in self._owners.items() if holder == owner]:
            del self._owners[offset]

    def holders(self) -> Iterable[str]:
        """Return the owners of addresses, the router left out."""
        return self._owners.values()

    def dump(self) -> dict[Address, str]:
        """Return the owner of every address in use, the router's included."""
        held = {**self._owners, self._router: ROUTER}
        return {self.network[offset]: held[offset] for offset in sorted(held)}

    def _after(self, offset: int) -> int:
        return (offset + 1) % self._size

    def _free(self, offset: int) -> bool:
        return offset not in self._owners and not self._reserved(offset)

    def _reserved(self, offset: int) -> str:
        if offset == self._router:
            return ROUTER
        if offset == 0:
            return RESERVED_FIRST
        return RESERVED_LAST if offset == self._size - 1 else ""


def pick_router(
    network: Network, present: Address | None, taken: Collection[Address] = ()
) -> Address:
    """Return the router address of a pod CIDR: the one `cilium_host` has, else the first host's.

    `taken` are addresses of pods that run; none of them is picked anew while another is free.
    ValueError when the CIDR is too small to hold a router and one pod.
    """
    if network.num_addresses < 4:
        raise ValueError(f"pod CIDR {network} is too small: a router and one pod need a /30 (/126)")
    if present is not None and present in network and present not in (network[0], network[-1]):
        return present
    hosts = (network[offset] for offset in range(1, network.num_addresses - 1))
    return next((address for address in hosts if address not in taken), network[1])
