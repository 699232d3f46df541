# SPDX-License-Identifier: Apache-2.0
"""Default deny, several specs, and what else stands in a Cilium policy."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import cnp, one

from cilium_core.policy.language import parse
from cilium_core.policy.rules import Direction

IN, OUT = Direction.INGRESS, Direction.EGRESS


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"ingress": [{}]}, {IN}),
        ({"egress": [{}]}, {OUT}),
        ({"ingressDeny": [{}]}, {IN}),
        ({"egressDeny": [{}]}, {OUT}),
        ({"ingress": [{}], "egress": [{}]}, {IN, OUT}),
        ({"ingress": [], "egress": [{}]}, {OUT}),
        ({"ingress": None, "egress": [{}]}, {OUT}),
        ({"ingress": [], "ingressDeny": [{}]}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": {}}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": None}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": {"ingress": None}}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": {"ingress": True}}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": {"ingress": False}}, set()),
        ({"ingressDeny": [{}], "enableDefaultDeny": {"ingress": False}}, set()),
        ({"ingress": [{}], "enableDefaultDeny": {"egress": False}}, {IN}),
        ({"ingress": [{}], "enableDefaultDeny": {"egress": True}}, {IN, OUT}),
        (
            {
                "ingress": [{}],
                "egress": [{}],
                "enableDefaultDeny": {"ingress": False, "egress": False},
            },
            set(),
        ),
    ],
)
def test_default_deny(sections: dict[str, Any], expected: set[Direction]) -> None:
    assert one(cnp({"endpointSelector": {}, **sections})).default_deny == expected


def test_specs_are_policies_of_their_own() -> None:
    first = {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]}
    second = {"endpointSelector": {}, "egress": [{}]}
    found = parse(cnp(first, specs=[second]), "lab")
    assert [each.default_deny for each in found] == [{IN}, {OUT}]
    assert [each.origin.field for each in found] == ["spec", "specs[0]"]


def test_the_rest() -> None:
    policy = one(
        cnp(
            {
                "endpointSelector": {},
                "ingress": [{}],
                "description": "why",
                "labels": [{"key": "b"}, {"key": "a", "value": "1", "source": "k8s"}],
                "log": {"value": "seen here"},
            },
            status={"conditions": []},
        )
    )
    assert policy.labels == ("k8s:a=1", "unspec:b")
    assert policy.log == "seen here"
    assert one(cnp({"endpointSelector": {}, "ingress": [{}], "log": {}})).log == ""


def test_authentication_that_asks_for_nothing() -> None:
    element = {"fromEntities": ["all"], "authentication": {"mode": "disabled"}}
    assert len(one(cnp({"endpointSelector": {}, "ingress": [element]})).rules) == 1
