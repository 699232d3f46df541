# SPDX-License-Identifier: Apache-2.0
"""Absent, empty and `{}`: whom one element means, on which ports."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import EVERYONE, INSIDE, PODS, WORLD, all_of, ccnp, cnp, one, rule, rules, who

from cilium_core.policy.language import parse
from cilium_core.policy.rules import Direction, PortRange, Protocol

TCP80 = {"ports": [{"port": "80", "protocol": "TCP"}]}
WEB = frozenset({PortRange(Protocol.TCP, 80, 80)})
NOBODY: set[str] = set()


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        # Nothing in it: it is there to turn default deny on, and allows nobody.
        ({}, NOBODY),
        ({"fromEndpoints": None}, NOBODY),
        ({"toPorts": []}, NOBODY),
        ({"icmps": []}, NOBODY),
        ({"authentication": {"mode": "disabled"}}, NOBODY),
        # Ports without peers: everyone.
        ({"toPorts": [TCP80]}, EVERYONE),
        ({"icmps": [{"fields": [{"type": 8}]}]}, EVERYONE),
        ({"fromEndpoints": None, "toPorts": [TCP80]}, EVERYONE),
        # A list that is there and empty: nobody, even beside others.
        ({"fromEndpoints": []}, NOBODY),
        ({"fromEndpoints": [], "toPorts": [TCP80]}, NOBODY),
        ({"fromEntities": []}, NOBODY),
        ({"fromCIDR": []}, NOBODY),
        ({"fromCIDRSet": []}, NOBODY),
        ({"fromEndpoints": [], "fromEntities": ["world"]}, NOBODY),
        # An empty selector is the own namespace.
        ({"fromEndpoints": [{}]}, {"own", "own-db"}),
        ({"fromEndpoints": [{"matchLabels": {}}]}, {"own", "own-db"}),
        ({"fromEndpoints": [{"matchExpressions": []}]}, {"own", "own-db"}),
        ({"fromEndpoints": [{}], "toPorts": []}, {"own", "own-db"}),
        # Ports without an entry are no ports.
        ({"fromEndpoints": [{}], "toPorts": [{}]}, NOBODY),
        ({"fromEndpoints": [{}], "toPorts": [{"ports": []}]}, NOBODY),
        ({"fromEndpoints": [{}], "icmps": [{}]}, NOBODY),
        # Lists are ORed.
        ({"fromEndpoints": [{"matchLabels": {"app": "db"}}, {}]}, {"own", "own-db"}),
        ({"fromEntities": ["host", "world"]}, {"host"} | WORLD),
        ({"fromEntities": ["host", "all"]}, EVERYONE),
    ],
)
def test_whom_an_element_means(element: dict[str, Any], expected: set[str] | str) -> None:
    assert all_of(rules("ingress", element)) == expected
    mirrored = {name.replace("from", "to"): value for name, value in element.items()}
    assert all_of(rules("egress", mirrored)) == expected
    if "authentication" not in element:
        assert all_of(rules("ingressDeny", element)) == expected
        assert all_of(rules("egressDeny", mirrored)) == expected


def test_an_empty_selector_of_a_clusterwide_policy_is_every_pod_of_the_cluster() -> None:
    spec = {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}
    assert all_of(one(ccnp(spec)).rules) == PODS


def test_entities_and_names_to_the_outside() -> None:
    assert all_of(rules("egress", {"toEntities": ["world"]})) == WORLD
    assert all_of(rules("egress", {"toEntities": ["cluster"]})) == INSIDE
    assert all_of(rules("egress", {"toFQDNs": []})) == NOBODY
    named = rule("egress", {"toFQDNs": [{"matchName": "Cilium.IO."}, {"matchPattern": "*.io"}]})
    assert who(named.peers) == NOBODY
    assert named.peers is not None
    assert named.peers.matches({"fqdn:cilium.io": "", "reserved:world-ipv4": ""})
    assert named.peers.matches({"fqdn:*.io": ""})
    assert not named.peers.matches({"fqdn:cilium.com": ""})


@pytest.mark.parametrize(
    ("section", "direction", "deny"),
    [
        ("ingress", Direction.INGRESS, False),
        ("ingressDeny", Direction.INGRESS, True),
        ("egress", Direction.EGRESS, False),
        ("egressDeny", Direction.EGRESS, True),
    ],
)
def test_sections(section: str, direction: Direction, deny: bool) -> None:
    found = rules(section, {"toPorts": [TCP80]}, {"toPorts": [TCP80]})
    assert [(each.direction, each.deny, each.ports, each.l7) for each in found] == [
        (direction, deny, WEB, None)
    ] * 2
    assert [each.origin.field for each in found] == [f"spec.{section}[{n}]" for n in (0, 1)]


def test_ports_without_application_rules_are_one_rule() -> None:
    dns = {"ports": [{"port": "53", "protocol": "UDP"}]}
    found = rule("egress", {"toPorts": [TCP80, dns]})
    assert found.ports == WEB | {PortRange(Protocol.UDP, 53, 53)}


def test_no_ports_are_every_port() -> None:
    assert rule("ingress", {"fromEntities": ["host"]}).ports == frozenset()
    assert rule("ingress", {"fromEntities": ["host"], "toPorts": []}).ports == frozenset()


def test_origins_name_the_object_and_the_rule() -> None:
    spec = {"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}
    first, second, third = parse(cnp(spec, specs=[spec, spec], name="web"), "lab")
    assert str(first.origin) == "CiliumNetworkPolicy shop/web spec"
    assert str(third.rules[0].origin) == "CiliumNetworkPolicy shop/web specs[1].ingress[0]"
    assert str(one(ccnp(spec)).origin) == "CiliumClusterwideNetworkPolicy p spec"
    assert first != second
