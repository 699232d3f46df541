# SPDX-License-Identifier: Apache-2.0
"""Random policies are valid, differ, and name the churn's pods alone."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from cilium_core.policy.language import parse, problems
from cilium_core.policy.rules import Operator
from e2e.churn import policies


def made(seed: int) -> Iterator[policies.Object]:
    random = Random(seed)
    yield policies.network_policy(random, "ns", "a")
    yield policies.cilium_policy(random, "ns", "b")
    yield policies.clusterwide_policy(random, "mark", "c")
    yield policies.group(random, "churn-g0")


def test_all_are_valid_and_a_seed_repeats_them() -> None:
    seen = set()
    for seed in range(300):
        found = list(made(seed))
        assert [problems(body) for body in found] == [[]] * len(found), found
        assert list(made(seed)) == found
        seen |= {str(body["spec"]) for body in found}
    assert len(seen) > 600


def test_clusterwide_policies_select_the_churns_namespaces_alone() -> None:
    key = f"k8s:{policies.NAMESPACE_LABELS}.{policies.MARK}"
    for seed in range(100):
        body = policies.clusterwide_policy(Random(seed), "mark", "c")
        for policy in parse(body, "test"):
            marks = [
                requirement.values
                for requirement in policy.subject.requirements
                if requirement.key == key and requirement.operator is Operator.IN
            ]
            assert [tuple(values) for values in marks] == [("mark",)]
