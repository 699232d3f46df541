# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy v1: types, peers, blocks, ports."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import CLUSTER, EVERYONE, PODS, all_of, np, one, pod, who

from cilium_core.policy.rules import Direction, PortRange, Protocol, Rule

IN, OUT = Direction.INGRESS, Direction.EGRESS
EMPTY: dict[str, Any] = {}


def labels(**values: str) -> dict[str, Any]:
    return {"matchLabels": values}


def rule(element: dict[str, Any], egress: bool = False) -> Rule:
    section, types = ("egress", ["Egress"]) if egress else ("ingress", ["Ingress"])
    (found,) = one(np({"podSelector": {}, section: [element], "policyTypes": types})).rules
    return found


@pytest.mark.parametrize(
    ("spec", "denied", "ruled"),
    [
        ({}, {IN}, []),
        ({"podSelector": {}}, {IN}, []),
        ({"policyTypes": []}, {IN}, []),
        ({"policyTypes": None}, {IN}, []),
        ({"policyTypes": ["Ingress"]}, {IN}, []),
        ({"policyTypes": ["Egress"]}, {OUT}, []),
        ({"policyTypes": ["Ingress", "Egress"]}, {IN, OUT}, []),
        ({"ingress": []}, {IN}, []),
        ({"ingress": [{}]}, {IN}, [IN]),
        ({"egress": []}, {IN}, []),
        ({"egress": [{}]}, {IN, OUT}, [OUT]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, {OUT}, [OUT]),
        ({"egress": [], "policyTypes": ["Egress"]}, {OUT}, []),
        # What policyTypes leaves out has no effect.
        ({"egress": [{}], "policyTypes": ["Ingress"]}, {IN}, []),
        ({"ingress": [{}], "policyTypes": ["Egress"]}, {OUT}, []),
    ],
)
def test_types(spec: dict[str, Any], denied: set[Direction], ruled: list[Direction]) -> None:
    policy = one(np(spec))
    assert policy.default_deny == denied
    assert [each.direction for each in policy.rules] == ruled


@pytest.mark.parametrize(
    ("peers", "expected"),
    [
        (None, EVERYONE),
        ([], EVERYONE),
        ([{"podSelector": {}}], {"own", "own-db"}),
        ([{"podSelector": labels(app="db")}], {"own-db"}),
        ([{"namespaceSelector": {}}], PODS),
        ([{"namespaceSelector": labels(tier="bank")}], {"other"}),
        ([{"namespaceSelector": {}, "podSelector": labels(app="web")}], {"own", "other"}),
        ([{"namespaceSelector": labels(tier="bank"), "podSelector": labels(app="db")}], set()),
        ([{"namespaceSelector": labels(tier="bank")}, {"podSelector": {}}], PODS),
        ([{"ipBlock": {"cidr": "10.0.0.0/8"}}], {"ten", "ten-one"}),
        ([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], {"ten"}),
        (
            [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"podSelector": labels(app="db")}],
            {"world-ipv4", "ten", "ten-one", "own-db"},
        ),
        # A pod's own label of the namespace cannot lead out of it.
        (
            [{"podSelector": {"matchLabels": {"io.kubernetes.pod.namespace": "bank"}}}],
            {"own", "own-db"},
        ),
        ([{"podSelector": {"matchLabels": {"io.cilium.k8s.policy.cluster": "far"}}}], {"far"}),
    ],
)
def test_peers(peers: Any, expected: set[str] | str) -> None:
    assert all_of([rule({"from": peers})]) == expected
    assert all_of([rule({"to": peers}, egress=True)]) == expected


def test_all_namespaces_means_something_that_is_in_one() -> None:
    peers = rule({"from": [{"namespaceSelector": EMPTY}]}).peers
    assert peers is not None
    assert not peers.matches({"k8s:io.cilium.k8s.policy.cluster": CLUSTER})


def test_namespaces_by_expressions() -> None:
    selector = {
        "matchExpressions": [
            {"key": "tier", "operator": "Exists"},
            {"key": "tier", "operator": "NotIn", "values": ["shop"]},
        ]
    }
    assert who(rule({"from": [{"namespaceSelector": selector}]}).peers) == {"other"}


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({}, PortRange(Protocol.TCP)),
        ({"port": 80}, PortRange(Protocol.TCP, 80, 80)),
        ({"port": 80, "protocol": "UDP"}, PortRange(Protocol.UDP, 80, 80)),
        ({"protocol": "SCTP"}, PortRange(Protocol.SCTP)),
        ({"port": 80, "endPort": 90}, PortRange(Protocol.TCP, 80, 90)),
        ({"port": 80, "endPort": 80}, PortRange(Protocol.TCP, 80, 80)),
        ({"port": "http"}, PortRange(Protocol.TCP, name="http")),
        ({"port": "dns", "protocol": "UDP"}, PortRange(Protocol.UDP, name="dns")),
    ],
)
def test_ports(port: dict[str, Any], expected: PortRange) -> None:
    assert rule({"ports": [port]}).ports == {expected}
    assert rule({"ports": [port]}).peers is None


def test_no_ports_are_every_port() -> None:
    assert rule({"ports": []}).ports == frozenset()
    assert rule(EMPTY).ports == frozenset()


def test_subject_stays_in_its_namespace() -> None:
    subject = one(np({"podSelector": labels(app="web")})).subject
    assert subject.matches(pod("shop", app="web"))
    assert not subject.matches(pod("shop", app="db"))
    assert not subject.matches(pod("bank", app="web"))
    sneaky = {"matchLabels": {"io.kubernetes.pod.namespace": "bank"}}
    assert not one(np({"podSelector": sneaky})).subject.matches(pod("bank"))


def test_origins() -> None:
    policy = one(np({"ingress": [{}, {}]}, name="web"))
    assert [str(each.origin) for each in policy.rules] == [
        f"NetworkPolicy shop/web spec.ingress[{n}]" for n in (0, 1)
    ]
