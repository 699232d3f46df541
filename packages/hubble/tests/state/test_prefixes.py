# SPDX-License-Identifier: Apache-2.0
"""Longest prefix against looking at every one of them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.addresses import pack_address
from cilium_hubble.state.prefixes import PrefixTable

ADDRESSES = st.one_of(
    st.integers(0, 2**10).map(lambda n: f"10.0.{n % 4}.{n // 4 % 256}"),
    st.integers(0, 2**10).map(lambda n: f"fd00::{n:x}"),
)
LENGTHS = {4: st.sampled_from([0, 8, 22, 24, 30, 31, 32]), 6: st.sampled_from([0, 64, 118, 128])}


@st.composite
def prefixes(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    version = ip_address(address).version
    return str(ip_network(f"{address}/{draw(LENGTHS[version])}", strict=False))


@given(st.lists(prefixes(), max_size=12), st.lists(prefixes(), max_size=4), ADDRESSES)
def test_against_the_obvious(held: list[str], removed: list[str], address: str) -> None:
    table: PrefixTable[str] = PrefixTable()
    for prefix in held:
        table.put(prefix, prefix)
    for prefix in removed:
        table.remove(prefix)
    left = [ip_network(prefix) for prefix in held if prefix not in removed]
    covering = [net for net in left if ip_address(address) in net]
    best = max(covering, key=lambda net: net.prefixlen, default=None)
    found = table.find(pack_address(address))
    if best is None and ip_address(address).version == 4:
        assert found in (None, "::/0")  # all of IPv6 covers the mapped addresses too
    else:
        assert found == (str(best) if best is not None else None)


def test_no_prefix() -> None:
    with pytest.raises(ValueError, match="banana"):
        PrefixTable[int]().put("banana", 1)
