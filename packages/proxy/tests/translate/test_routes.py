# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from http_model import Request, judge, read, requests_, rules_
from hypothesis import given
from hypothesis import strategies as st
from proxy_fakes import http, rule_set

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate.routes import matcher, route_configuration


@given(st.lists(rules_, max_size=6), st.booleans(), st.lists(requests_, min_size=1, max_size=8))
def test_a_tree_does_what_its_rules_say_one_by_one(rules, everything, requests):
    made = rule_set(10001, 1, rules, everything=everything)
    tree = matcher(made)
    for request in requests:
        assert read(tree, request) == judge(made, request)


def ask(tree, method: str, path: str, host: str = "h", **headers: str):
    return read(tree, Request(method, path, host, headers))


@pytest.mark.parametrize(
    ("idle", "held"), [("DELETE", {}), ("DELETE", {"x": "1"}), ("REPLACE", {"x": "1"})]
)
def test_a_rule_that_changes_nothing_hides_none_that_does(idle, held):
    def rule(name, mismatch):
        return http(header_matches=[{"name": name, "value": "1", "mismatch": mismatch}])

    tree = matcher(rule_set(10001, 1, [http(), rule("x", idle), rule("y", "ADD")]))
    assert ask(tree, "GET", "/", **held).headers == {**held, "y": "1"}


def test_a_thousand_exact_paths_are_one_map():
    tree = matcher(rule_set(10001, 1, [http(method="GET", path=f"/p/{n}") for n in range(1000)]))
    assert len(tree.matcher_tree.exact_match_map.map) == 1000
    assert ask(tree, "GET", "/p/999").allowed
    assert not ask(tree, "PUT", "/p/999").allowed
    assert not ask(tree, "GET", "/p/1000").allowed


def test_a_rule_without_fields_allows_everything_at_once():
    tree = matcher(rule_set(10001, 1, [http(path="/a"), http(), http(path="/b.*")]))
    assert len(tree.matcher_list.matchers) == 1
    assert ask(tree, "ANY", "/any/..%2fthing").allowed


def test_no_rules_refuse_everything():
    assert not ask(matcher(rule_set(10001)), "GET", "/").allowed


def test_a_path_that_another_rule_knows_is_still_looked_for_elsewhere():
    rules = [http(method="GET", path="/a"), http(method="PUT", path="/.*"), http(method="DELETE")]
    tree = matcher(rule_set(10001, 1, rules))
    assert ask(tree, "PUT", "/a").allowed
    assert ask(tree, "DELETE", "/a").allowed
    assert not ask(tree, "POST", "/a").allowed


@pytest.mark.parametrize("path", ["/pub/..%2fx", "/pub/%2E%2e/x", "/pub/..%5Cx", "/pub/..;/x"])
def test_a_path_may_not_be_led_out_of_what_an_expression_allows(path):
    tree = matcher(rule_set(10001, 1, [http(path="/pub/.*"), http(path="/pub/[^x]+x")]))
    assert not ask(tree, "GET", path).allowed
    assert ask(tree, "GET", "/pub/a%2fx").allowed
    assert ask(tree, "GET", "/pub/a?next=/../x").allowed


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (http(path="/a["), "rule 0 of set-10001: path"),
        (http(method="(?=x)"), "rule 0 of set-10001: method"),
        (pb.Rule(server_name="x"), "is not a rule for HTTP"),
        (
            http(header_matches=[{"name": "Host", "value": "x", "mismatch": "REPLACE"}]),
            "may be compared, not changed",
        ),
        (
            http(
                header_matches=[
                    {"name": f"x-{n}", "value": "x", "mismatch": "ADD"} for n in range(5)
                ]
            ),
            "more than 4 headers",
        ),
    ],
)
def test_what_cannot_be_put_in_force_is_named(rule, said):
    with pytest.raises(RuleError, match=said.replace("(", r"\(")):
        route_configuration(rule_set(10001, 1, [rule]))


def test_a_rule_that_needs_a_secret_matches_nothing():
    match = {"name": "x-key", "secret": "ns/name"}
    tree = matcher(rule_set(10001, 1, [http(header_matches=[match])]))
    assert not ask(tree, "GET", "/", **{"x-key": "v"}).allowed
    logged = matcher(rule_set(10001, 1, [http(header_matches=[{**match, "mismatch": "LOG"}])]))
    assert ask(logged, "GET", "/").allowed


def test_equal_rules_give_equal_bytes():
    made = rule_set(10001, 1, [http(path=f"/{n}") for n in range(50)])
    one, two = (route_configuration(made).SerializeToString(deterministic=True) for _ in "ab")
    assert one == two
