# SPDX-License-Identifier: Apache-2.0
"""All or nothing of each object, and what an edit that is a slip leaves in force."""

from __future__ import annotations

from ipaddress import ip_network

from cilium_agent.policy.repository import PolicyKey, Repository

KEY = PolicyKey("CiliumNetworkPolicy", "x", "p")


def body(**spec: object) -> dict:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"endpointSelector": {}, **spec},
    }


def test_a_valid_object_is_held_with_its_prefixes() -> None:
    repository = Repository("default", (4, 6))
    held = repository.put(KEY, body(egress=[{"toCIDR": ["192.0.2.0/24"]}]))
    assert (len(held.policies), held.problems) == (1, ())
    assert repository.prefixes() == {ip_network("192.0.2.0/24")}
    repository.remove(KEY)
    assert repository.prefixes() == set()
    assert repository.held == {}


def test_an_invalid_object_says_why_and_is_not_enforced() -> None:
    held = Repository("default", (4, 6)).put(KEY, body(egress=[{"toCIDR": ["192.0.2.0/99"]}]))
    assert held.policies == ()
    assert [problem.field for problem in held.problems] == ["spec.egress[0].toCIDR[0]"]


def test_an_edit_that_is_a_slip_leaves_the_old_rules_in_force() -> None:
    repository = Repository("default", (4, 6))
    before = repository.put(KEY, body(ingress=[{"fromCIDR": ["192.0.2.0/24"]}]))
    after = repository.put(KEY, body(ingress=[{"fromCIDR": ["nonsense"]}]))
    assert after.policies == before.policies
    assert after.problems
    assert repository.prefixes() == {ip_network("192.0.2.0/24")}
    assert repository.put(KEY, body(ingress=[{}])).problems == ()
    assert repository.prefixes() == set()


def test_a_policy_of_nodes_is_refused_whole() -> None:
    key = PolicyKey("CiliumClusterwideNetworkPolicy", "", "p")
    spec = {"nodeSelector": {}, "ingress": [{"fromEntities": ["all"]}]}
    nodes = {**body(), "kind": key.kind, "metadata": {"name": "p"}, "spec": spec}
    held = Repository("default", (4, 6)).put(key, nodes)
    assert held.policies == ()
    assert [problem.field for problem in held.problems] == ["spec.nodeSelector"]
