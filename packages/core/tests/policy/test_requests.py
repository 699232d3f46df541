# SPDX-License-Identifier: Apache-2.0
"""Requests against L7 rules: each field, their union, and what stands beside them."""

import pytest

from cilium_core.policy.bits import Role
from cilium_core.policy.decide import Verdict
from cilium_core.policy.entries import Entry
from cilium_core.policy.explain import Explanation
from cilium_core.policy.requests import Request, answer
from cilium_core.policy.rules import Direction, L7Kind, L7Rules, Origin, Rule

HTTP, DNS, KAFKA, SNI = L7Kind.HTTP, L7Kind.DNS, L7Kind.KAFKA, L7Kind.SNI
FIRST, SECOND, PLAIN = (Origin("CiliumNetworkPolicy", "x", name) for name in ("p", "q", "plain"))


def entry(origin, kind=None, *rules):
    l7 = L7Rules(kind, frozenset(rules)) if kind else None
    rule = Rule(Direction.INGRESS, False, None, frozenset(), l7, origin)
    return Entry(6, 80, 80, None, Role.L7 if kind else Role.ALLOW, rule)


def explanation(*entries, allows=()):
    return Explanation(Verdict.L7, Direction.INGRESS, entries, allows, ())


def said(kind, rule, fields):
    return answer(explanation(entry(FIRST, kind, tuple(rule.items()))), Request(kind, fields))[0]


GET = {"method": "GET", "path": "/a", "host": "a.example", "headers": {"x-token": "secret"}}


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, True),
        ({"method": "GET"}, True),
        ({"method": "G"}, False),
        ({"method": "GET|POST", "path": "/a.*", "host": ".*[.]example"}, True),
        ({"method": "GET", "path": "/b"}, False),
        ({"host": "b[.]example"}, False),
        ({"headers": ("X-Token",)}, True),
        ({"headers": ("X-Token secret",)}, True),
        ({"headers": ("X-Token: secret",)}, True),
        ({"headers": ("X-Token other",)}, False),
        ({"headers": ("X-Token", "X-Other")}, False),
        ({"headerMatches": ((("name", "x-token"), ("value", "secret")),)}, True),
        ({"headerMatches": ((("name", "x-token"), ("value", "other")),)}, False),
        ({"headerMatches": ((("name", "x-token"),),)}, True),
        ({"headerMatches": ((("mismatch", "LOG"), ("name", "x-other"), ("value", "1")),)}, True),
        ({"headerMatches": ((("name", "x-token"), ("secret", (("name", "s"),))),)}, False),
    ],
)
def test_http(rule, allowed):
    assert said(HTTP, rule, GET) == ("allow" if allowed else "http-403")


def test_a_request_without_a_host_matches_no_expression_for_it():
    assert said(HTTP, {"host": ".*"}, {"method": "GET", "path": "/"}) == "http-403"


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"matchName": "www.example.com"}, True),
        ({"matchName": "example.com"}, False),
        ({"matchPattern": "*.example.com"}, True),
        ({"matchPattern": "*.com"}, False),
        ({"matchName": "other.com", "matchPattern": "*"}, True),
    ],
)
def test_dns(rule, allowed):
    assert said(DNS, rule, {"name": "WWW.example.com."}) == ("allow" if allowed else "dns-refused")


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, True),
        ({"role": "produce"}, True),
        ({"role": "consume"}, False),
        ({"apiKey": "produce", "topic": "orders"}, True),
        ({"apiKey": "produce", "topic": "other"}, False),
        ({"apiKey": "fetch"}, False),
        ({"apiVersion": "2"}, True),
        ({"apiVersion": "3"}, False),
        ({"clientID": "c"}, True),
        ({"clientID": "d"}, False),
    ],
)
def test_kafka(rule, allowed):
    fields = {"apiKey": "produce", "apiVersion": "2", "clientID": "c", "topic": "orders"}
    assert said(KAFKA, rule, fields) == ("allow" if allowed else "kafka-deny")


def test_a_topic_says_nothing_of_requests_without_one():
    assert said(KAFKA, {"role": "consume", "topic": "t"}, {"apiKey": "heartbeat"}) == "allow"


@pytest.mark.parametrize(("name", "verdict"), [("a.example", "allow"), ("b.other", "deny")])
def test_server_names(name, verdict):
    assert said(SNI, {"name": "*.example"}, {"name": name}) == verdict


def test_rules_of_several_policies_are_one_union():
    found = explanation(
        entry(FIRST, HTTP, (("path", "/a"),)), entry(SECOND, HTTP, (("path", "/b"),))
    )
    assert answer(found, Request(HTTP, {"path": "/b"})) == ("allow", SECOND)
    assert answer(found, Request(HTTP, {"path": "/c"})) == ("http-403", FIRST)


def test_a_plain_allow_rule_beside_lets_every_request_pass():
    found = explanation(entry(FIRST, HTTP, (("path", "/a"),)), allows=(entry(PLAIN),))
    assert answer(found, Request(HTTP, {"path": "/c"})) == ("allow", PLAIN)


def test_another_protocol_than_the_rules_speak_of_is_ended():
    found = explanation(entry(FIRST, KAFKA, ()))
    assert answer(found, Request(HTTP, {"path": "/"})) == ("deny", FIRST)


def test_without_a_request_the_proxy_takes_the_connection():
    assert answer(explanation(entry(FIRST, HTTP, (("path", "/a"),))), None) == ("allow", FIRST)
