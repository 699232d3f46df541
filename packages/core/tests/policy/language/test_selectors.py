# SPDX-License-Identifier: Apache-2.0
"""Label selectors: operators, values, keys with dots and slashes, one canonical form."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import ccnp, np, one

from cilium_core.policy.rules import Selector

WEB = {"k8s:app": "web", "k8s:example.com/role.of": "front", "any:x": "1"}


def subject(selector: dict[str, Any]) -> Selector:
    return one(ccnp({"endpointSelector": selector, "ingress": [{}]})).subject


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "k8s:app": "web"}}, True),
        ({"matchLabels": {"app": "web", "any:app": "db"}}, False),
        ({"matchLabels": {"app": ""}}, False),
        ({"matchLabels": {"example.com/role.of": "front"}}, True),
        ({"matchLabels": {"k8s:example.com/role.of": "back"}}, False),
        (expression("app", "In", "db", "web"), True),
        (expression("app", "In", "db"), False),
        (expression("missing", "In", "db"), False),
        (expression("app", "NotIn", "db"), True),
        (expression("app", "NotIn", "web"), False),
        (expression("missing", "NotIn", "web"), True),
        (expression("app", "Exists"), True),
        (expression("missing", "Exists"), False),
        (expression("app", "DoesNotExist"), False),
        (expression("missing", "DoesNotExist"), True),
        ({"matchLabels": {"app": "web"}, **expression("app", "NotIn", "web")}, False),
    ],
)
def test_matching(selector: dict[str, Any], matches: bool) -> None:
    assert subject(selector).matches(WEB) is matches


def test_equal_selectors_are_the_same_value() -> None:
    one_way = subject({"matchLabels": {"b": "1", "a": "2"}, **expression("c", "In", "y", "x", "y")})
    other_way = subject(
        {"matchLabels": {"a": "2", "any:b": "1"}, **expression("any:c", "In", "x", "y")}
    )
    assert one_way == other_way
    assert [each.key for each in one_way.requirements] == ["any:a", "any:b", "any:c"]


def test_kubernetes_keys_have_one_source() -> None:
    policy = one(np({"podSelector": {"matchLabels": {"app": "web"}}}))
    assert [each.key for each in policy.subject.requirements] == [
        "k8s:app",
        "k8s:io.kubernetes.pod.namespace",
    ]
