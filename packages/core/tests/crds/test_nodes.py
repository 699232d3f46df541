# SPDX-License-Identifier: Apache-2.0
"""Which texts the API server takes for addresses and pod CIDRs."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.crds.nodes import endpoint_schema, node_schema

NODE = node_schema()["properties"]["spec"]["properties"]
NETWORKING = endpoint_schema()["properties"]["status"]["properties"]["networking"]["properties"]
POD_CIDR = NODE["ipam"]["properties"]["podCIDRs"]["items"]
NODE_IP = NODE["addresses"]["items"]["properties"]["ip"]
PAIR = NETWORKING["addressing"]["items"]["properties"]


def takes(schema: dict[str, Any], text: str) -> bool:
    return re.search(schema["pattern"], text) is not None


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_every_address_is_taken_where_its_family_fits(address: IPv4Address | IPv6Address) -> None:
    text = str(address)
    assert takes(NODE_IP, text)
    assert takes(NETWORKING["node"], text)
    assert takes(PAIR["ipv4"], text) is (address.version == 4)
    assert takes(PAIR["ipv6"], text) is (address.version == 6)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 128))
def test_every_network_is_a_pod_cidr(address: IPv4Address | IPv6Address, mask: int) -> None:
    network = ip_network(f"{address}/{min(mask, address.max_prefixlen)}", strict=False)
    assert takes(POD_CIDR, str(network))
    if isinstance(network, IPv6Network):
        assert takes(POD_CIDR, network.exploded)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/24", "node1", "fd00::/129"]
)
def test_what_is_no_pod_cidr(text: str) -> None:
    assert not takes(POD_CIDR, text)


@pytest.mark.parametrize("text", ["node1", "10.0.0.256", "10.0.0.1/24", " 10.0.0.1"])
def test_what_is_no_address(text: str) -> None:
    found = [takes(NODE_IP, text), takes(NETWORKING["node"], text), takes(PAIR["ipv4"], text)]
    assert not any(found)


def test_no_address_is_an_empty_text() -> None:
    assert takes(PAIR["ipv4"], "")
    assert takes(PAIR["ipv6"], "")
