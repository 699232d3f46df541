# SPDX-License-Identifier: Apache-2.0
"""Packing addresses and networks into 128 bits and back loses nothing."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.addresses import pack_address, pack_network, unpack_address, unpack_network

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)


@given(st.one_of(V4, V6))
def test_address_round_trip(address):
    assert unpack_address(pack_address(address)) == address


@given(V4, st.integers(0, 32))
def test_v4_network_round_trip(address, length):
    network = ip_network((address, length), strict=False)
    prefixlen, raw = pack_network(network)
    assert prefixlen == length + 96
    assert unpack_network(prefixlen, raw) == network


@given(V6, st.integers(0, 128))
def test_v6_network_round_trip(address, length):
    network = ip_network((address, length), strict=False)
    prefixlen, raw = pack_network(network)
    assert prefixlen == length
    assert unpack_network(prefixlen, raw) == network


def test_v4_is_mapped():
    assert pack_address("10.1.2.3").hex() == "00000000000000000000ffff0a010203"


def test_default_routes_of_both_families_differ():
    assert pack_network("0.0.0.0/0") == (96, pack_address("0.0.0.0"))
    assert pack_network("::/0") == (0, bytes(16))


def test_text_that_is_no_address_is_refused():
    with pytest.raises(ValueError, match="10.0.0.256"):
        pack_address("10.0.0.256")


def test_unpack_wants_sixteen_bytes():
    with pytest.raises(ValueError):
        unpack_address(ip_address("10.0.0.1").packed + b"\0")
