# SPDX-License-Identifier: Apache-2.0
"""Ports of Cilium rules and ICMP types, as ranges."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import rule

from cilium_core.policy.language.icmp import TYPES_V4, TYPES_V6
from cilium_core.policy.rules import PortRange, Protocol

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
ICMP, ICMPV6 = Protocol.ICMP, Protocol.ICMPV6


def ports(*entries: dict[str, Any], section: str = "ingress") -> set[PortRange]:
    return set(rule(section, {"toPorts": [{"ports": list(entries)}]}).ports)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"port": "80", "protocol": "TCP"}, {PortRange(TCP, 80, 80)}),
        ({"port": "80", "protocol": "tcp"}, {PortRange(TCP, 80, 80)}),
        ({"port": "65535", "protocol": "UDP"}, {PortRange(UDP, 65535, 65535)}),
        ({"port": "80", "endPort": 90, "protocol": "TCP"}, {PortRange(TCP, 80, 90)}),
        ({"port": "80", "endPort": 80, "protocol": "TCP"}, {PortRange(TCP, 80, 80)}),
        ({"port": "80", "endPort": 0, "protocol": "TCP"}, {PortRange(TCP, 80, 80)}),
        ({"port": "80", "endPort": 90.0, "protocol": "TCP"}, {PortRange(TCP, 80, 90)}),
        ({"port": "0", "protocol": "TCP"}, {PortRange(TCP)}),
        ({"protocol": "SCTP"}, {PortRange(SCTP)}),
        ({"port": None, "protocol": "UDP"}, {PortRange(UDP)}),
        ({"port": "80"}, {PortRange(each, 80, 80) for each in (TCP, UDP, SCTP)}),
        ({"port": "80", "protocol": ""}, {PortRange(each, 80, 80) for each in (TCP, UDP, SCTP)}),
        ({"port": "80", "protocol": "ANY"}, {PortRange(each, 80, 80) for each in (TCP, UDP, SCTP)}),
        ({"port": "0", "protocol": "ANY"}, {PortRange(each) for each in (TCP, UDP, SCTP)}),
        ({"port": "http", "protocol": "TCP"}, {PortRange(TCP, name="http")}),
        ({"port": "Web-8080", "protocol": "TCP"}, {PortRange(TCP, name="web-8080")}),
        ({"port": "dns"}, {PortRange(each, name="dns") for each in (TCP, UDP, SCTP)}),
        ({"port": "0x50", "protocol": "TCP"}, {PortRange(TCP, name="0x50")}),
        ({"port": "8", "protocol": "ICMP"}, {PortRange(ICMP, 8, 8)}),
        ({"port": "0", "protocol": "ICMP"}, {PortRange(ICMP)}),
        ({"port": "128", "endPort": 129, "protocol": "ICMPv6"}, {PortRange(ICMPV6, 128, 129)}),
        ({"protocol": "VRRP"}, {PortRange(Protocol.VRRP)}),
        ({"port": "0", "protocol": "IGMP"}, {PortRange(Protocol.IGMP)}),
    ],
)
def test_entries(entry: dict[str, Any], expected: set[PortRange]) -> None:
    assert ports(entry) == expected
    assert ports(entry, section="egressDeny") == expected


def test_forty_ports_are_the_most() -> None:
    assert len(ports(*({"port": str(n), "protocol": "TCP"} for n in range(1, 41)))) == 40


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"type": 8}, PortRange(ICMP, 8, 8)),
        ({"type": "8"}, PortRange(ICMP, 8, 8)),
        ({"type": 0}, PortRange(ICMP, 0, 0)),
        ({"type": "255", "family": "IPv4"}, PortRange(ICMP, 255, 255)),
        ({"type": "EchoRequest"}, PortRange(ICMP, 8, 8)),
        ({"type": "Echo"}, PortRange(ICMP, 8, 8)),
        ({"type": "EchoRequest", "family": "IPv6"}, PortRange(ICMPV6, 128, 128)),
        ({"type": 135, "family": "IPv6"}, PortRange(ICMPV6, 135, 135)),
    ],
)
def test_icmp(field: dict[str, Any], expected: PortRange) -> None:
    found = rule("egress", {"icmps": [{"fields": [field]}]})
    assert found.ports == {expected}


def test_icmp_names_and_numbers() -> None:
    assert (len(TYPES_V4), len(TYPES_V6)) == (14, 27)
    assert TYPES_V4["TimeExceeded"] == 11
    assert TYPES_V6["NeighborAdvertisement"] == 136


def test_icmp_of_both_families_is_one_rule() -> None:
    both = [{"fields": [{"type": 8}]}, {"fields": [{"family": "IPv6", "type": 128}]}]
    found = rule("ingressDeny", {"icmps": both})
    assert found.ports == {PortRange(ICMP, 8, 8), PortRange(ICMPV6, 128, 128)}
