# SPDX-License-Identifier: Apache-2.0
"""Ownership of CIDRs: adoption, conflicts, exhaustion, reservations."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cilium_operator.errors import PoolExhausted
from cilium_operator.ipam.allocator import Allocator
from cilium_operator.ipam.pool import Pool

V4 = ip_network("10.0.0.0/24")
V6 = ip_network("fd00::/120")


def allocator(v4: str = "10.0.0.0/22", v6: str = "fd00::/118") -> Allocator:
    pools = {4: Pool([ip_network(v4)], 24), 6: Pool([ip_network(v6)], 120)}
    return Allocator(pools)


def test_the_lowest_blocks_of_both_families_come_first() -> None:
    ours = allocator()
    assert ours.wanted("a", []) == [V4, V6]
    assert ours.wanted("a", []) == [V4, V6], "asking again gives the same"
    assert ours.wanted("b", []) == [ip_network("10.0.1.0/24"), ip_network("fd00::100/120")]


def test_only_the_missing_family_is_given() -> None:
    ours = allocator()
    assert ours.adopt("a", [V4]) == []
    assert ours.wanted("a", [V4]) == [V6]


def test_first_owner_wins_and_the_other_is_named() -> None:
    ours = allocator()
    assert ours.adopt("a", [V4]) == []
    (conflict,) = ours.adopt("b", [V4])
    assert str(conflict) == "pod CIDR 10.0.0.0/24 overlaps 10.0.0.0/24, which belongs to node a"
    assert ours.owned("b") == []
    assert ours.forget("a")
    assert ours.adopt("b", [V4]) == []


@pytest.mark.parametrize("odd", ["10.0.0.0/23", "10.0.0.128/25"])
def test_networks_that_are_no_blocks_keep_theirs_free_of_others(odd: str) -> None:
    ours = allocator()
    assert ours.adopt("old", [ip_network(odd)]) == []
    (v4, _) = ours.wanted("new", [])
    assert not v4.overlaps(ip_network(odd))
    assert ours.adopt("third", [V4])[0].owner == "old"
    ours.forget("old")
    assert ours.wanted("next", [])[0] == V4


def test_exhaustion_of_one_family_still_gives_the_other() -> None:
    ours = allocator(v4="10.0.0.0/24")
    ours.wanted("a", [])
    assert ours.wanted("b", []) == [ip_network("fd00::100/120")]
    with pytest.raises(PoolExhausted, match=r"IPv4 pod CIDR left in 10\.0\.0\.0/24.*ipv4-cidr"):
        ours.wanted("b", [ip_network("fd00::100/120")])
    ours.forget("a")
    assert ours.wanted("b", [ip_network("fd00::100/120")]) == [V4]


def test_reserved_blocks_are_left_out_and_owned_ones_kept() -> None:
    ours = allocator()
    ours.wanted("a", [])
    ours.reserve([ip_network("10.0.0.0/23"), ip_network("fd00::103/128")])
    assert ours.owned("a") == [V4, V6]
    assert ours.wanted("b", []) == [ip_network("10.0.2.0/24"), ip_network("fd00::200/120")]
    assert ours.owners_touching(ip_network("10.0.0.0/23")) == [("a", V4)]


def test_an_edited_list_replaces_what_was_owned() -> None:
    ours = allocator()
    ours.wanted("a", [])
    other = ip_network("10.0.3.0/24")
    assert ours.adopt("a", [other, V6]) == []
    assert ours.owned("a") == [other, V6]
    assert ours.wanted("b", [])[0] == V4
