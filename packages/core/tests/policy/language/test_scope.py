# SPDX-License-Identifier: Apache-2.0
"""Namespaces and clusters: what a selector means when it does not say."""

from __future__ import annotations

from typing import Any

import pytest
from policy_objects import CLUSTER, NAMESPACE, all_of, ccnp, cnp, one, pod, rules

from cilium_core.policy.rules import Operator, Requirement

ANY_NS = f"any:{NAMESPACE}"
K8S_NS = f"k8s:{NAMESPACE}"
LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER_LABEL = "io.cilium.k8s.policy.cluster"
NOBODY: set[str] = set()


def labels(**values: str) -> dict[str, Any]:
    return {"matchLabels": values}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": operator}
    return {"matchExpressions": [found | ({"values": list(values)} if values else {})]}


@pytest.mark.parametrize(
    ("selector", "own", "clusterwide"),
    [
        (labels(app="web"), {"own"}, {"own", "other"}),
        ({"matchLabels": {"k8s:app": "web"}}, {"own"}, {"own", "other"}),
        ({"matchLabels": {"any:app": "web"}}, {"own"}, {"own", "other"}),
        ({"matchLabels": {"container:app": "web"}}, NOBODY, NOBODY),
        # Naming a namespace, with or without its source, by labels or by expressions.
        ({"matchLabels": {NAMESPACE: "bank"}}, {"other"}, {"other"}),
        ({"matchLabels": {K8S_NS: "bank"}}, {"other"}, {"other"}),
        ({"matchLabels": {ANY_NS: "bank"}}, {"other"}, {"other"}),
        (expression(K8S_NS, "In", "bank", "shop"), {"own", "own-db", "other"}, None),
        (expression(NAMESPACE, "NotIn", "shop"), {"other"}, {"other"}),
        (expression(K8S_NS, "Exists"), {"own", "own-db", "other"}, None),
        (expression(K8S_NS, "DoesNotExist"), NOBODY, NOBODY),
        # Another source of the same key says nothing about namespaces.
        ({"matchLabels": {f"container:{NAMESPACE}": "bank"}}, NOBODY, NOBODY),
        # A namespace by its labels.
        ({"matchLabels": {f"{LABELS}.tier": "bank"}}, {"other"}, {"other"}),
        ({"matchLabels": {f"k8s:{LABELS}.tier": "bank"}}, {"other"}, {"other"}),
        (expression(f"k8s:{LABELS}.tier", "Exists"), {"own", "own-db", "other"}, None),
        # Service accounts.
        ({"matchLabels": {"io.cilium.k8s.policy.serviceaccount": "keeper"}}, {"own-db"}, None),
        # Reserved labels: no namespace, no cluster is added.
        ({"matchLabels": {"reserved:host": ""}}, {"host"}, {"host"}),
        (expression("reserved:remote-node", "Exists"), {"remote-node"}, {"remote-node"}),
        (
            {"matchLabels": {"app": "web"}, **expression("reserved:host", "DoesNotExist")},
            {"own", "other", "far"},
            {"own", "other", "far"},
        ),
        # Another cluster.
        ({"matchLabels": {CLUSTER_LABEL: "far"}}, {"far"}, {"far"}),
        (expression(f"k8s:{CLUSTER_LABEL}", "Exists"), {"own", "own-db", "far"}, None),
    ],
)
def test_peers(selector: dict[str, Any], own: set[str], clusterwide: set[str] | None) -> None:
    element = {"fromEndpoints": [selector]}
    assert all_of(rules("ingress", element)) == own
    if clusterwide is not None:
        spec = {"endpointSelector": {}, "ingress": [element]}
        assert all_of(one(ccnp(spec)).rules) == clusterwide


def test_what_is_added_to_a_peer() -> None:
    (rule,) = rules("ingress", {"fromEndpoints": [labels(app="web")]})
    assert rule.peers is not None
    (selector,) = rule.peers.selectors
    assert selector.requirements == (
        Requirement("any:app", Operator.IN, ("web",)),
        Requirement(f"k8s:{CLUSTER_LABEL}", Operator.IN, (CLUSTER,)),
        Requirement(K8S_NS, Operator.IN, ("shop",)),
    )


@pytest.mark.parametrize(
    ("selector", "own", "other"),
    [
        ({}, True, False),
        (labels(app="web"), True, False),
        (labels(app="db"), False, False),
        # A CiliumNetworkPolicy stays in its namespace, whatever it says.
        ({"matchLabels": {K8S_NS: "bank"}}, True, False),
        ({"matchLabels": {K8S_NS: "bank", "app": "db"}}, False, False),
        ({"matchLabels": {NAMESPACE: "bank"}}, False, False),
        ({"matchLabels": {NAMESPACE: "shop"}}, True, False),
        (expression(K8S_NS, "In", "bank"), False, False),
        (expression(K8S_NS, "In", "bank", "shop"), True, False),
    ],
)
def test_subjects(selector: dict[str, Any], own: bool, other: bool) -> None:
    subject = one(cnp({"endpointSelector": selector, "ingress": [{}]})).subject
    assert subject.matches(pod("shop", app="web")) is own
    assert subject.matches(pod("bank", app="web")) is other


def test_a_clusterwide_subject_gets_nothing_added() -> None:
    subject = one(ccnp({"endpointSelector": {}, "ingress": [{}]})).subject
    assert subject.requirements == ()
    assert subject.matches({"reserved:health": ""})


def test_a_policy_without_a_namespace_is_in_default() -> None:
    policy = cnp({"endpointSelector": {}, "ingress": [{}]})
    del policy["metadata"]["namespace"]
    assert one(policy).origin.namespace == "default"
    assert one(policy).subject.matches(pod("default"))


def test_pods_without_labels_yet_may_be_reached_from_anywhere_in_the_cluster() -> None:
    spec = {
        "endpointSelector": {"matchLabels": {"reserved:init": ""}},
        "egress": [{"toEndpoints": [{}]}],
    }
    (rule,) = one(ccnp(spec)).rules
    assert rule.peers is not None
    assert rule.peers.matches({f"k8s:{CLUSTER_LABEL}": CLUSTER})
    spec["endpointSelector"] = {}
    (rule,) = one(ccnp(spec)).rules
    assert rule.peers is not None
    assert not rule.peers.matches({f"k8s:{CLUSTER_LABEL}": CLUSTER})


def test_nodes() -> None:
    spec = {
        "nodeSelector": {"matchLabels": {"disk": "ssd"}},
        "ingress": [{"fromEntities": ["all"]}],
    }
    policy = one(ccnp(spec))
    assert policy.on_nodes
    assert policy.subject.requirements == (Requirement("any:disk", Operator.IN, ("ssd",)),)
    assert not one(ccnp({"endpointSelector": {}, "ingress": [{}]})).on_nodes
