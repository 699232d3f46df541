# SPDX-License-Identifier: Apache-2.0
"""CIDRs and their exceptions, judged by the identities that prefixes get."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_objects import all_of, cnp, np, one, outside, rules
from policy_strategies import networks

from cilium_core.addresses import Network
from cilium_core.policy.cidr import cidr_labels
from cilium_core.policy.language import prefixes


def _set(cidr: str, *left_out: str) -> dict[str, Any]:
    return {"cidr": cidr, "except": list(left_out)}


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"toCIDR": ["10.0.0.0/8"]}, {"ten", "ten-one"}),
        ({"toCIDR": ["10.1.0.0/16"]}, {"ten-one"}),
        ({"toCIDR": ["10.1.2.3/16"]}, {"ten-one"}),
        ({"toCIDR": ["10.1.2.3"]}, set()),
        ({"toCIDR": ["0.0.0.0/0"]}, {"world-ipv4", "ten", "ten-one"}),
        ({"toCIDR": ["::/0"]}, {"world-ipv6", "fd"}),
        ({"toCIDR": ["fc00::/7"]}, {"fd"}),
        ({"toCIDRSet": [_set("10.0.0.0/8")]}, {"ten", "ten-one"}),
        ({"toCIDRSet": [_set("10.0.0.0/8", "10.1.0.0/16")]}, {"ten"}),
        ({"toCIDRSet": [_set("0.0.0.0/0", "10.0.0.0/8")]}, {"world-ipv4"}),
        ({"toCIDRSet": [_set("::/0", "fd00::/8")]}, {"world-ipv6"}),
        ({"toCIDRSet": [_set("0.0.0.0/0", "0.0.0.0/0")]}, set()),
        # An exception is the affair of its own element.
        (
            {"toCIDRSet": [_set("10.0.0.0/8", "10.1.0.0/16"), _set("10.1.0.0/16")]},
            {"ten", "ten-one"},
        ),
    ],
)
def test_matching(element: dict[str, Any], expected: set[str]) -> None:
    assert all_of(rules("egress", element)) == expected
    mirrored = {name.replace("to", "from"): value for name, value in element.items()}
    assert all_of(rules("ingressDeny", mirrored)) == expected


@pytest.mark.parametrize(
    ("cidr", "families", "world", "matches"),
    [
        ("0.0.0.0/0", (4,), "world", True),
        ("::/0", (4,), "world", False),
        ("::/0", (6,), "world", True),
        ("0.0.0.0/0", (6,), "world", False),
        ("0.0.0.0/0", (4, 6), "world", False),
        ("0.0.0.0/0", (4, 6), "world-ipv4", True),
        ("0.0.0.0/0", (4, 6), "world-ipv6", False),
    ],
)
def test_everything_in_a_cluster_of_one_family(
    cidr: str, families: tuple[int, ...], world: str, matches: bool
) -> None:
    spec = {"endpointSelector": {}, "egress": [{"toCIDR": [cidr]}]}
    (rule,) = one(cnp(spec), families).rules
    assert rule.peers is not None
    assert rule.peers.matches({f"reserved:{world}": ""}) is matches


def test_every_prefix_is_listed_once_with_the_exceptions() -> None:
    policy = one(
        cnp(
            {
                "endpointSelector": {"matchLabels": {"cidr:1.2.3.0/24": ""}},
                "ingress": [{"fromCIDR": ["10.0.0.0/8", "fd00::1"]}, {"fromEntities": ["all"]}],
                "egressDeny": [
                    {"toCIDRSet": [_set("10.0.0.0/8", "10.9.9.9/32"), _set("::/0", "fd00::/8")]},
                    {"toCIDRSet": [{"cidrGroupRef": "g", "except": ["192.0.2.0/24"]}]},
                    {"toCIDR": ["0.0.0.0/0"]},
                    {"toPorts": [{"ports": [{"port": "1"}]}]},
                ],
            }
        )
    )
    assert prefixes(policy) == {
        ip_network(text)
        for text in ("10.0.0.0/8", "fd00::1/128", "10.9.9.9/32", "fd00::/8", "192.0.2.0/24")
    }


def test_everything_of_a_family_that_is_not_there_needs_no_identity() -> None:
    choice = {"cidrGroupRef": "g", "except": ["::/0", "10.0.0.0/8"]}
    spec = {"endpointSelector": {}, "egress": [{"toCIDRSet": [choice]}]}
    assert prefixes(one(cnp(spec), (4,))) == {ip_network("10.0.0.0/8")}


def test_blocks_of_network_policies() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    policy = one(np({"egress": [{"to": [block]}], "policyTypes": ["Egress"]}))
    assert all_of(policy.rules) == {"ten"}
    assert prefixes(policy) == {ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")}


@given(networks(), networks(), st.data())
def test_a_prefix_is_matched_by_what_covers_it(one_: Network, other: Network, data: Any) -> None:
    spec = {"endpointSelector": {}, "egress": [{"toCIDR": [str(one_)]}]}
    (rule,) = one(cnp(spec)).rules
    assert rule.peers is not None
    labels = cidr_labels(other, dual_stack=True)
    covers = one_.version == other.version and other.subnet_of(one_)  # type: ignore[arg-type]
    assert rule.peers.matches(labels) is covers
    inside = data.draw(st.integers(int(one_.network_address), int(one_.broadcast_address)))
    address = ip_network(ip_address(inside) if one_.version == 4 else _v6(inside))
    assert rule.peers.matches(cidr_labels(address, dual_stack=True))


def _v6(number: int) -> Any:
    from ipaddress import IPv6Address

    return IPv6Address(number)


def test_labels_of_the_outside_say_nothing_of_pods() -> None:
    assert all(key.startswith(("cidr:", "reserved:")) for key in outside("10.1.0.0/16"))
