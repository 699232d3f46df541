# SPDX-License-Identifier: Apache-2.0
"""Prefixes as labels: the text, its way back, and what an identity carries."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.policy.cidr import cidr_key, cidr_labels, network_of, world


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("10.0.0.0/8", "cidr:10.0.0.0/8"),
        ("0.0.0.0/0", "cidr:0.0.0.0/0"),
        ("::/0", "cidr:0--0/0"),
        ("fd00::/8", "cidr:fd00--0/8"),
        ("fd00::1/128", "cidr:fd00--1/128"),
        ("::1/128", "cidr:0--1/128"),
        ("2001:db8:1:2:3:4:5:6/128", "cidr:2001-db8-1-2-3-4-5-6/128"),
    ],
)
def test_keys(prefix: str, key: str) -> None:
    assert cidr_key(ip_network(prefix)) == key
    assert network_of(key) == ip_network(prefix)


@pytest.mark.parametrize("key", ["k8s:app", "cidr:", "cidr:10.0.0.1/8", "cidr:x", "cidrgroup:a"])
def test_no_keys(key: str) -> None:
    assert network_of(key) is None


@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_every_prefix_comes_back(address: int, length: int) -> None:
    host = 128 - length
    network = IPv6Network((address >> host << host, length))
    assert network_of(cidr_key(network)) == network


def test_labels() -> None:
    assert cidr_labels(ip_network("192.0.0.0/3"), dual_stack=True) == {
        "cidr:192.0.0.0/3": "",
        "cidr:192.0.0.0/2": "",
        "cidr:128.0.0.0/1": "",
        "cidr:0.0.0.0/0": "",
        "reserved:world-ipv4": "",
    }
    assert len(cidr_labels(ip_network("fd00::1/128"), dual_stack=True)) == 130


def test_everything_is_the_world_and_no_more() -> None:
    assert cidr_labels(ip_network("0.0.0.0/0"), dual_stack=True) == {"reserved:world-ipv4": ""}
    assert cidr_labels(ip_network("::/0"), dual_stack=True) == {"reserved:world-ipv6": ""}
    assert cidr_labels(ip_network("::/0"), dual_stack=False) == {"reserved:world": ""}
    assert world(4, dual_stack=False) == "reserved:world"


def test_each_call_gives_labels_of_its_own() -> None:
    first = cidr_labels(ip_network("10.0.0.0/8"), dual_stack=True)
    first["k8s:a"] = "b"
    assert "k8s:a" not in cidr_labels(ip_network("10.0.0.0/8"), dual_stack=True)
