# SPDX-License-Identifier: Apache-2.0
"""Application rules: kept as they were meant, on the ports that can carry them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from policy_objects import all_of, ccnp, one, rule, rules

from cilium_core.policy.rules import L7Kind, PortRange, Protocol

SEED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: l7-visibility, namespace: emojivoto}
spec:
  egress:
  - toPorts:
    - ports: [{port: "53", protocol: ANY}]
      rules: {dns: [{matchPattern: '*'}]}
  - toEndpoints:
    - matchLabels: {k8s:io.kubernetes.pod.namespace: emojivoto}
    toPorts:
    - ports:
      - {port: "80", protocol: TCP}
      - {port: "8080", protocol: TCP}
      - {port: "8081", protocol: TCP}
      rules: {http: [{}]}
  endpointSelector:
    matchLabels: {k8s:io.kubernetes.pod.namespace: emojivoto}
"""
TCP80 = {"port": "80", "protocol": "TCP"}


def l7(kind: str, *entries: dict[str, Any], port: dict[str, Any] | None = None) -> set[Any]:
    element = {"toPorts": [{"ports": [port or TCP80], "rules": {kind: list(entries)}}]}
    found = rule("egress", element).l7
    assert found is not None
    assert found.kind == kind
    return set(found.rules)


def test_the_article() -> None:
    policy = one(yaml.safe_load(SEED))
    dns, http = policy.rules
    assert dns.peers is None
    assert dns.ports == {PortRange(each, 53, 53) for each in (Protocol.TCP, Protocol.UDP)}
    assert dns.l7 is not None
    assert dns.l7.rules == {(("matchPattern", "*"),)}
    assert {each.first for each in http.ports} == {80, 8080, 8081}
    assert http.l7 is not None
    assert (http.l7.kind, http.l7.rules) == (L7Kind.HTTP, {()})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, ()),
        ({"path": "", "method": None}, ()),
        ({"method": "GET", "path": "/v[12]"}, (("method", "GET"), ("path", "/v[12]"))),
        ({"host": r"a\.com"}, (("host", r"a\.com"),)),
        ({"path": r"/\pL+\z"}, (("path", r"/\pL+\z"),)),
        ({"path": r"/[(?=*+]+\\1"}, (("path", r"/[(?=*+]+\\1"),)),
        ({"headers": ["X-Token", "X-Mode fast"]}, (("headers", ("X-Token", "X-Mode fast")),)),
        (
            {"headerMatches": [{"name": "X", "value": "1", "mismatch": "REPLACE"}]},
            (("headerMatches", ((("mismatch", "REPLACE"), ("name", "X"), ("value", "1")),)),),
        ),
        (
            {"headerMatches": [{"name": "X", "secret": {"name": "s"}}]},
            (("headerMatches", ((("name", "X"), ("secret", (("name", "s"),))),)),),
        ),
    ],
)
def test_http(written: dict[str, Any], expected: object) -> None:
    assert l7("http", written) == {expected}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"matchName": "Cilium.IO."}, (("matchName", "cilium.io"),)),
        ({"matchPattern": "*.x.io"}, (("matchPattern", "*.x.io"),)),
        (
            {"matchName": "a.io", "matchPattern": "*"},
            (("matchName", "a.io"), ("matchPattern", "*")),
        ),
    ],
)
def test_dns(written: dict[str, Any], expected: object) -> None:
    assert l7("dns", written, port={"port": "53"}) == {expected}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, ()),
        ({"role": "Produce", "topic": "t"}, (("role", "produce"), ("topic", "t"))),
        (
            {"apiKey": "FETCH", "apiVersion": "3", "clientID": "me"},
            (("apiKey", "fetch"), ("apiVersion", "3"), ("clientID", "me")),
        ),
        ({"apiKey": "", "role": "consume"} | {"apiKey": None}, (("role", "consume"),)),
    ],
)
def test_kafka(written: dict[str, Any], expected: object) -> None:
    assert l7("kafka", written) == {expected}


def test_server_names() -> None:
    element = {"toPorts": [{"ports": [{"port": "443"}], "serverNames": ["A.io", "*.b.io"]}]}
    found = rule("egress", element)
    assert found.l7 is not None
    assert found.l7.kind is L7Kind.SNI
    assert found.l7.rules == {(("name", "a.io"),), (("name", "*.b.io"),)}
    assert found.ports == {PortRange(Protocol.TCP, 443, 443)}


@pytest.mark.parametrize("written", [{}, {"http": []}, {"dns": None}, {"kafka": []}])
def test_no_rules_are_no_application_rules(written: dict[str, Any]) -> None:
    found = rule("ingress", {"toPorts": [{"ports": [TCP80], "rules": written}]})
    assert found.l7 is None
    assert found.ports == {PortRange(Protocol.TCP, 80, 80)}


def test_each_set_of_application_rules_is_a_rule_of_its_own() -> None:
    plain, http, other = rules(
        "ingress",
        {
            "fromEntities": ["world"],
            "toPorts": [
                {"ports": [TCP80], "rules": {"http": [{"method": "GET"}]}},
                {"ports": [{"port": "81", "protocol": "TCP"}]},
                {"ports": [{"port": "82", "protocol": "TCP"}], "rules": {"http": [{}]}},
                {"ports": [{"port": "83", "protocol": "TCP"}]},
            ],
        },
    )
    assert {each.first for each in plain.ports} == {81, 83}
    assert plain.l7 is None
    assert [each.first for each in http.ports] == [80]
    assert [each.first for each in other.ports] == [82]
    assert plain.origin == http.origin == other.origin
    assert all_of([plain]) == all_of([http])


def test_without_default_deny_the_rest_passes_too() -> None:
    """Such a policy is for looking, and must not refuse what it does not name."""
    element = {"toPorts": [{"ports": [TCP80], "rules": {"http": [{"method": "GET"}]}}]}
    strict = rule("ingress", element).l7
    loose = rule("ingress", element, enableDefaultDeny={"ingress": False}).l7
    assert strict is not None
    assert loose is not None
    assert strict.rules == {(("method", "GET"),)}
    assert loose.rules == {(("method", "GET"),), ()}


def test_nodes_may_have_dns_rules() -> None:
    element = {"toPorts": [{"ports": [{"port": "53"}], "rules": {"dns": [{"matchPattern": "*"}]}}]}
    (found,) = one(ccnp({"nodeSelector": {}, "egress": [element]})).rules
    assert found.l7 is not None
