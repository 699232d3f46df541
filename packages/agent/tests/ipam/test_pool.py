# SPDX-License-Identifier: Apache-2.0
"""Address pools against a slow, obvious model, and their edges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from agent_fakes import ADDRESSING
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cilium_agent.errors import AddressTaken, PoolExhausted
from cilium_agent.ipam.family import FamilyPool, pick_router
from cilium_agent.ipam.pool import NodePool

OWNERS = st.sampled_from([f"owner{n}" for n in range(8)])


class PoolAgainstModel(RuleBasedStateMachine):
    """The model is a list of free addresses, longest unused first, and a dict of owners."""

    def __init__(self) -> None:
        super().__init__()
        self.network = IPv4Network("192.0.2.16/28")
        self.router = IPv4Address("192.0.2.19")
        self.pool = FamilyPool(self.network, self.router)
        self.hosts = [a for a in self.network.hosts() if a != self.router]
        self.model: dict = {}
        self.cursor = self.network[1]
        self.last: IPv4Address | None = None

    def expected(self):
        order = sorted(self.hosts, key=lambda a: (a < self.cursor, a))
        return next((a for a in order if a not in self.model), None)

    @rule(owner=OWNERS)
    def allocate(self, owner: str) -> None:
        expected = self.expected()
        if expected is None:
            with pytest.raises(PoolExhausted, match="192.0.2.16/28"):
                self.pool.allocate(owner)
            return
        assert self.pool.allocate(owner) == expected
        self.model[expected] = owner
        self.cursor = expected + 1
        self.last = expected

    @precondition(lambda self: self.last is not None)
    @rule()
    def restart(self) -> None:
        """A new pool with the same claims goes on where the old one was."""
        self.pool = FamilyPool(self.network, self.router)
        for address, owner in self.model.items():
            self.pool.claim(address, owner)
        self.pool.resume(self.last)

    @rule(owner=OWNERS, offset=st.integers(-2, 20))
    def claim(self, owner: str, offset: int) -> None:
        address = self.network[0] + offset
        if address in self.hosts and self.model.get(address, owner) == owner:
            self.pool.claim(address, owner)
            self.model[address] = owner
        else:
            with pytest.raises(AddressTaken, match=str(address)):
                self.pool.claim(address, owner)

    @precondition(lambda self: self.model)
    @rule(owner=OWNERS)
    def release(self, owner: str) -> None:
        self.pool.release(owner)
        self.model = {a: o for a, o in self.model.items() if o != owner}

    @invariant()
    def same(self) -> None:
        assert self.pool.dump() == {**self.model, self.router: "router"}
        assert self.pool.used == len(self.model)
        assert self.pool.used <= self.pool.capacity == len(self.hosts)


TestPoolAgainstModel = PoolAgainstModel.TestCase
TestPoolAgainstModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_freed_address_comes_back_last() -> None:
    pool = FamilyPool(IPv4Network("192.0.2.0/28"), IPv4Address("192.0.2.1"))
    first = pool.allocate("a")
    pool.release("a")
    later = [pool.allocate(str(n)) for n in range(pool.capacity)]
    assert later[-1] == first
    assert len(set(later)) == pool.capacity


@pytest.mark.parametrize(
    ("claimed", "last", "expected"),
    [
        ([], None, "192.0.2.2"),  # the first start of all
        ([5, 9], None, "192.0.2.10"),  # the note was lost with the file
        ([5, 9], "192.0.2.6", "192.0.2.7"),  # .6 was freed: it waits a whole round
        ([5, 9], "192.0.2.8", "192.0.2.10"),
        ([], "192.0.2.14", "192.0.2.2"),  # the last of the CIDR
        ([5], "198.51.100.7", "192.0.2.6"),  # of a CIDR that this node had before
        ([14], None, "192.0.2.2"),
    ],
)
def test_a_restarted_pool_goes_on(claimed: list[int], last: str | None, expected: str) -> None:
    pool = FamilyPool(IPv4Network("192.0.2.0/28"), IPv4Address("192.0.2.1"))
    for offset in claimed:
        pool.claim(pool.network[offset], f"owner{offset}")
    pool.resume(IPv4Address(last) if last else None)
    assert pool.allocate("next") == IPv4Address(expected)


def test_addresses_outside_of_the_cidrs_are_held_too() -> None:
    pool = NodePool(FamilyPool(IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1")), None)
    older, other_family, reserved = (
        IPv4Address("198.51.100.7"),
        IPv6Address("fd00::7"),
        IPv4Address("192.0.2.255"),
    )
    for address in (other_family, reserved, older):
        pool.claim(address, "a")
        pool.claim(address, "a")
        with pytest.raises(AddressTaken, match=f"{address} belongs to a, not to b"):
            pool.claim(address, "b")
    with pytest.raises(AddressTaken, match="192.0.2.1 belongs to router"):
        pool.claim(IPv4Address("192.0.2.1"), "a")
    assert pool.owners() == {"a"}
    assert pool.v4
    assert pool.v4.used == 0
    assert set(pool.outside()) == {older, other_family}  # the CIDR's own route leads to .255
    assert list(pool.dump()) == [IPv4Address("192.0.2.1"), reserved, older, other_family]
    with pytest.raises(AddressTaken, match="a holds"):
        pool.allocate("a")
    pool.release("a")
    assert (pool.owners(), pool.outside()) == (set(), [])


def test_a_family_that_is_full_takes_nothing_of_the_other() -> None:
    v4 = FamilyPool(IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1"))
    v6 = FamilyPool(IPv6Network("fd00::/126"), IPv6Address("fd00::1"))
    pool = NodePool(v4, v6)
    assert pool.allocate("a") == (IPv4Address("192.0.2.2"), IPv6Address("fd00::2"))
    with pytest.raises(PoolExhausted, match="fd00::/126"):
        pool.allocate("b")
    assert pool.owners() == {"a"}


def test_an_owner_has_one_address_of_each_family() -> None:
    pool = NodePool.of(ADDRESSING)
    pool.allocate("a")
    with pytest.raises(AddressTaken, match="a holds"):
        pool.allocate("a")


def test_one_family_alone() -> None:
    pool = NodePool(None, FamilyPool(IPv6Network("fd00::/120"), IPv6Address("fd00::1")))
    assert pool.allocate("a") == (None, IPv6Address("fd00::2"))
    with pytest.raises(ValueError):
        NodePool(None, None)


@pytest.mark.parametrize(
    ("network", "present", "expected"),
    [
        ("10.0.0.0/24", None, "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.77", "10.0.0.77"),
        ("10.0.0.0/24", "10.0.1.77", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.0", "10.0.0.1"),
        ("fd00::/120", "fd00::9", "fd00::9"),
    ],
)
def test_the_router_stays(network: str, present: str | None, expected: str) -> None:
    held = ip_address(present) if present else None
    assert pick_router(ip_network(network), held) == ip_address(expected)


def test_a_new_router_takes_no_running_pods_address() -> None:
    network = IPv4Network("10.0.0.0/29")
    pods = [network[1], network[2]]
    assert pick_router(network, None, pods) == network[3]
    assert pick_router(network, network[2], pods) == network[2]
    assert pick_router(network, None, list(network)) == network[1]


def test_a_cidr_too_small_is_named() -> None:
    with pytest.raises(ValueError, match="10.0.0.0/31"):
        pick_router(IPv4Network("10.0.0.0/31"), None)


@pytest.mark.parametrize("router", ["192.0.2.0", "192.0.2.255", "198.51.100.1"])
def test_a_router_must_be_a_host_of_the_cidr(router: str) -> None:
    with pytest.raises(ValueError, match=router):
        FamilyPool(IPv4Network("192.0.2.0/24"), IPv4Address(router))
