# SPDX-License-Identifier: Apache-2.0
"""Any JSON at all: policies or FieldErrors, never anything else, never half of a policy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import clusterwide_policies, policies

from cilium_core.errors import FieldError
from cilium_core.policy.language import cidr_group, is_checked, parse, prefixes, problems
from cilium_core.policy.rules import PeerSet

WORDS = (
    *("spec", "specs", "metadata", "name", "namespace", "kind", "apiVersion", "status"),
    *("endpointSelector", "nodeSelector", "matchLabels", "matchExpressions", "key", "operator"),
    *("values", "ingress", "egress", "ingressDeny", "egressDeny", "fromEndpoints", "toEndpoints"),
    *("fromEntities", "toEntities", "fromCIDR", "toCIDRSet", "cidr", "except", "cidrGroupRef"),
    *("cidrGroupSelector", "toPorts", "ports", "port", "endPort", "protocol", "rules", "http"),
    *("dns", "kafka", "icmps", "fields", "type", "family", "toFQDNs", "matchName", "from", "to"),
    *("podSelector", "policyTypes", "ipBlock", "namespaceSelector", "enableDefaultDeny", "log"),
    *("labels", "serverNames", "authentication", "mode", "externalCIDRs", "value", "path"),
)
TEXTS = (
    "TCP",
    "ANY",
    "80",
    "0",
    "web",
    "10.0.0.0/8",
    "::/0",
    "all",
    "In",
    "Exists",
    "Ingress",
    "*",
)
KINDS = (
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    ("cilium.io/v2", "CiliumCIDRGroup"),
)

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(TEXTS)
)
_keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=5))
json = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=30,
)


def judge(obj: Any) -> None:
    """Parse and check that both ways of asking agree."""
    found = problems(obj)
    assert all(isinstance(each, FieldError) and each.reason for each in found)
    assert all("\n" not in str(each) for each in found)
    read = cidr_group if isinstance(obj, dict) and obj.get("kind") == KINDS[3][1] else _parse
    if found:
        with pytest.raises(FieldError) as caught:
            read(obj)
        assert str(caught.value) == str(found[0])
    else:
        read(obj)


def _parse(obj: Any) -> None:
    for policy in parse(obj, "lab"):
        hash(policy)
        prefixes(policy)
        for rule in policy.rules:
            assert isinstance(rule.peers, PeerSet | None)
            assert rule.l7 is None or (rule.ports and not rule.deny)


@given(json)
def test_anything(obj: Any) -> None:
    judge(obj)
    if isinstance(obj, dict):
        is_checked(obj)


@given(st.sampled_from(KINDS), json, json)
def test_any_spec(kind: tuple[str, str], spec: Any, specs: Any) -> None:
    judge(
        {
            "apiVersion": kind[0],
            "kind": kind[1],
            "metadata": {"name": "p"},
            "spec": spec,
            "specs": specs,
        }
    )


@given(policies())
def test_valid_policies_are_valid(obj: Any) -> None:
    before = copy.deepcopy(obj)
    assert problems(obj) == []
    assert parse(obj, "lab") == parse(obj, "lab")
    judge(obj)
    assert obj == before


@given(policies(), st.data())
def test_a_valid_policy_with_something_odd_in_it(obj: Any, data: st.DataObject) -> None:
    """Replace one node by anything; the answer is a complaint about it, or a policy."""
    nodes = list(_nodes(obj))
    holder, key = data.draw(st.sampled_from(nodes))
    holder[key] = data.draw(json)
    judge(obj)


@given(policies(), st.data())
def test_a_field_that_nobody_knows_is_named(obj: Any, data: st.DataObject) -> None:
    places = [holder for holder, _ in _nodes(obj) if isinstance(holder, dict)]
    holder = data.draw(st.sampled_from([each for each in places if not _free(obj, each)]))
    holder["nonsense"] = 1
    assert any(each.field.endswith("nonsense") for each in problems(obj))


@settings(max_examples=20)
@given(clusterwide_policies())
def test_clusterwide_policies_name_no_namespace(obj: Any) -> None:
    assert {policy.origin.namespace for policy in parse(obj, "lab")} == {""}


def _nodes(obj: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = obj.items() if isinstance(obj, dict) else enumerate(obj)
    for key, value in items:
        found.append((obj, key))
        if isinstance(value, dict | list):
            found += _nodes(value)
    return found


def _free(root: Any, holder: Any) -> bool:
    """Tell whether an object has free keys: matchLabels, metadata."""
    return any(
        each[key] is holder for each, key in _nodes(root) if key in ("matchLabels", "metadata")
    )
