# SPDX-License-Identifier: Apache-2.0
"""The pool's search against a walk over every block."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from cilium_core.cidr import overlaps
from cilium_operator.ipam.pool import Pool

RANGES = [ip_network("10.0.0.0/28"), ip_network("10.1.0.0/27")]
MASK = 30


def all_blocks() -> list[object]:
    return [block for pool in RANGES for block in pool.subnets(new_prefix=MASK)]


reserved_networks = st.lists(
    st.builds(
        lambda base, offset, prefix: ip_network((base + offset, prefix), strict=False),
        st.sampled_from([0x0A000000, 0x0A010000, 0x0B000000]),
        st.integers(0, 40),
        st.integers(26, 32),
    ),
    max_size=4,
)
steps = st.lists(
    st.one_of(
        st.just(("take", None)),
        st.tuples(st.just("give"), st.integers(0, 11)),
        st.tuples(st.just("reserve"), reserved_networks),
    ),
    max_size=40,
)


@given(steps)
def test_lowest_free_is_what_a_walk_finds(todo: list[tuple[str, object]]) -> None:
    pool = Pool(RANGES, MASK)
    blocks = all_blocks()
    used: set[object] = set()
    reserved: list[object] = []
    for action, value in todo:
        if action == "take":
            number = pool.lowest_free()
            expected = next(
                (
                    block
                    for block in blocks
                    if block not in used and not any(overlaps(block, r) for r in reserved)  # type: ignore[arg-type]
                ),
                None,
            )
            assert (None if number is None else pool.block(number)) == expected
            if number is not None:
                pool.take(number)
                used.add(expected)
        elif action == "give":
            assert isinstance(value, int)
            pool.give_back(value)
            used.discard(blocks[value])
        else:
            assert isinstance(value, list)
            pool.reserve(value)
            reserved = value
        free = [
            block
            for block in blocks
            if block not in used and not any(overlaps(block, r) for r in reserved)  # type: ignore[arg-type]
        ]
        assert pool.free_count() == len(free)


def test_a_large_pool_costs_nothing() -> None:
    pool = Pool([ip_network("fd00::/48")], 120)
    assert pool.size == 1 << 72
    pool.reserve([ip_network("fd00::/64")])
    number = pool.lowest_free()
    assert number is not None
    assert pool.block(number) == ip_network("fd00:0:0:1::/120")


def test_exact_tells_blocks_from_other_networks() -> None:
    pool = Pool(RANGES, MASK)
    assert pool.exact(ip_network("10.1.0.4/30")) == 5
    assert pool.exact(ip_network("10.1.0.4/31")) is None
    assert pool.exact(ip_network("10.9.0.4/30")) is None
