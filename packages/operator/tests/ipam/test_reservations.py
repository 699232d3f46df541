# SPDX-License-Identifier: Apache-2.0
"""Reserved ranges by source, and their warnings."""

from __future__ import annotations

from ipaddress import ip_network

from cilium_operator.ipam.allocator import Allocator
from cilium_operator.ipam.pool import Pool
from cilium_operator.ipam.reservations import Reservations, networks_of


def test_sources_replace_their_own_and_warn_once() -> None:
    allocator = Allocator({4: Pool([ip_network("10.0.0.0/8")], 24)})
    (first,) = allocator.wanted("a", [])
    ours = Reservations(allocator)
    service = ip_network("10.0.0.0/16")
    assert ours.set("ServiceCIDR kubernetes", [service]) == [
        "10.0.0.0/16 of ServiceCIDR kubernetes lies in the pod CIDR pool; "
        "256 block(s) of /24 are left out",
        "pod CIDR 10.0.0.0/24 of node a overlaps 10.0.0.0/16 of ServiceCIDR kubernetes",
    ]
    assert ours.set("ServiceCIDR kubernetes", [service]) == []
    assert ours.set("Node n", [ip_network("192.0.2.1/32")]) == []
    assert allocator.owned("a") == [first]
    assert allocator.wanted("b", []) == [ip_network("10.1.0.0/24")]
    assert ours.set("ServiceCIDR kubernetes", []) == []
    assert ours.sources() == ["Node n"]
    assert allocator.wanted("c", []) == [ip_network("10.0.1.0/24")]


def test_texts_that_are_no_networks_are_left_out() -> None:
    assert networks_of("Node n", ["192.0.2.1", "node.example", ""]) == [ip_network("192.0.2.1/32")]
