# SPDX-License-Identifier: Apache-2.0
"""CIDR arithmetic against lists of subnets."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.addresses import Network
from cilium_core.cidr import (
    block_at,
    block_count,
    blocks_touched,
    first_overlap,
    merge_ranges,
    overlaps,
    parse_network,
)
from cilium_core.errors import FieldError

V4 = ip_network("10.0.0.0/24")
V6 = ip_network("fd00::/120")


@given(st.sampled_from([V4, V6]), st.integers(0, 8))
def test_blocks_are_the_subnets_in_order(pool: Network, extra: int) -> None:
    mask = pool.prefixlen + extra
    subnets = list(pool.subnets(prefixlen_diff=extra))
    assert block_count(pool, mask) == len(subnets)
    assert [block_at(pool, mask, index) for index in range(len(subnets))] == subnets


@given(st.sampled_from([V4, V6]), st.integers(0, 6), st.integers(-300, 600), st.integers(0, 12))
def test_touched_blocks_are_those_that_overlap(
    pool: Network, extra: int, offset: int, size: int
) -> None:
    mask = pool.prefixlen + extra
    start = int(pool.network_address) + offset
    other = ip_network((type(pool.network_address)(start), pool.max_prefixlen - size), strict=False)
    expected = [
        index
        for index, block in enumerate(pool.subnets(prefixlen_diff=extra))
        if overlaps(block, other)
    ]
    assert list(blocks_touched(pool, mask, other)) == expected


@given(st.lists(st.builds(range, st.integers(0, 60), st.integers(0, 60)), max_size=8))
def test_merged_ranges_are_the_union(ranges: list[range]) -> None:
    merged = merge_ranges(ranges)
    assert {n for r in merged for n in r} == {n for r in ranges for n in r}
    assert all(a.stop < b.start for a, b in zip(merged, merged[1:], strict=False))


def test_families_never_overlap() -> None:
    assert not overlaps(V4, V6)
    assert list(blocks_touched(V4, 26, V6)) == []


def test_first_overlap_names_the_pair() -> None:
    inner = ip_network("10.0.0.128/25")
    assert first_overlap([V6, V4, inner]) == (V4, inner)
    assert first_overlap([V6, V4]) is None


def test_errors_name_the_field() -> None:
    with pytest.raises(FieldError, match="pools: '10.0.0.1/8' is not a CIDR"):
        parse_network("pools", "10.0.0.1/8")
    with pytest.raises(FieldError, match="mask: /8 does not divide"):
        block_count(V4, 8)
