# SPDX-License-Identifier: Apache-2.0
"""Which names a rule set lets through, as the policy language means them."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from dns_neighbours import dns_set
from hypothesis import given

from cilium_core.policy.patterns import name_pattern
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.dns.flows import RulesInForce
from cilium_proxy.dns.matching import REMEMBERED, Names


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("Api.Example.com.", ["api.example.com.", "API.example.COM"], ["x.api.example.com."]),
        ("*.example.com", ["a.example.com.", ".example.com"], ["example.com.", "a.b.example.com."]),
        ("**.example.com", ["a.example.com.", "a.b.example.com."], ["example.com."]),
        ("*", [".", "com.", "a.b.c.", "we\\.ird."], []),
        ("db-*.*.svc", ["db-1.shop.svc."], ["db-1.svc.", "db.shop.svc."]),
    ],
)
def test_rules(rule: str, allowed: list[str], refused: list[str]) -> None:
    names = Names(dns_set(1, rule))
    for _ in range(2):  # the second time from memory
        assert all(names.allow(name) for name in allowed)
        assert not any(names.allow(name) for name in refused)


def test_an_empty_rule_is_every_name_and_no_rule_is_none() -> None:
    assert not Names(dns_set(1)).allow("a.test.")
    for rule in (pb.Rule(), pb.Rule(dns=pb.DnsRule())):
        assert Names(pb.RuleSet(rules=[rule])).allow("a.test.")
    assert Names(dns_set(1, "x", everything=True)).allow("a.test.")


def test_rules_of_other_kinds_let_nothing_through() -> None:
    assert not Names(pb.RuleSet(rules=[pb.Rule(http=pb.HttpRule())])).allow("a.test.")


def test_both_fields_of_a_rule_let_through() -> None:
    rule = pb.Rule(dns=pb.DnsRule(match_name="a.test", match_pattern="*.b.test"))
    names = Names(pb.RuleSet(rules=[rule]))
    assert names.allow("a.test.")
    assert names.allow("x.b.test.")
    assert not names.allow("x.a.test.")


def test_verdicts_are_of_the_rules_that_hold_and_their_memory_is_bounded() -> None:
    rules = RulesInForce(dns_set(1, "*.a.test"))
    for number in range(2 * REMEMBERED):
        assert rules.names.allow(f"n{number}.a.test.")
    assert len(rules.names._verdicts) <= REMEMBERED
    rules.replace(dns_set(1, "*.b.test"))
    assert not rules.names.allow("n1.a.test.")


@given(st.from_regex(r"[a-c*]{1,3}(\.[a-c*]{1,3}){0,2}", fullmatch=True), st.data())
def test_patterns_are_the_languages_own(pattern: str, data: st.DataObject) -> None:
    name = data.draw(st.from_regex(r"[a-c]{1,3}(\.[a-c]{1,3}){0,2}", fullmatch=True))
    expected = name_pattern(pattern).fullmatch(name) is not None
    assert Names(dns_set(1, pattern)).allow(f"{name.upper()}.") == expected
