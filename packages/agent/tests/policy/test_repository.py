# SPDX-License-Identifier: Apache-2.0
"""All or nothing of each object, and what an edit that is a slip leaves in force."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from cilium_agent.policy.lastvalid import LastValid
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


def test_what_a_slip_left_in_force_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "policies"
    good, bad = body(ingress=[{"fromCIDR": ["192.0.2.0/24"]}]), body(ingress=[{"fromCIDR": ["x"]}])
    first = Repository("default", (4, 6), LastValid(path))
    before = first.put(KEY, good)
    first.put(KEY, bad)
    second = Repository("default", (4, 6), LastValid(path))
    held = second.put(KEY, bad)
    assert held.policies == before.policies
    assert held.problems
    assert second.prefixes() == {ip_network("192.0.2.0/24")}
    assert second.put(KEY, bad).policies == before.policies  # and once more
    second.remove(KEY)
    assert Repository("default", (4, 6), LastValid(path)).put(KEY, bad).policies == ()


def test_an_edit_while_no_process_runs_opens_nothing(tmp_path: Path) -> None:
    good, bad = body(ingress=[{}]), body(ingress=[{}], egress="x")
    before = Repository("default", (4, 6), LastValid(tmp_path)).put(KEY, good)
    assert before.policies
    after = Repository("default", (4, 6), LastValid(tmp_path)).put(KEY, bad)
    assert after.policies == before.policies
    assert after.problems


def test_what_was_deleted_while_no_process_ran_does_not_come_back(tmp_path: Path) -> None:
    Repository("default", (4, 6), LastValid(tmp_path)).put(KEY, body(ingress=[{}]))
    second = Repository("default", (4, 6), LastValid(tmp_path))
    second.listed()
    assert list(tmp_path.iterdir()) == []
    assert second.put(KEY, body(ingress=[{}], egress="x")).policies == ()


def test_what_cannot_be_kept_is_enforced_all_the_same(tmp_path: Path) -> None:
    """Damaged files, and a disk that takes none."""
    (tmp_path / "1.json").write_text("{nonsense")
    repository = Repository("default", (4, 6), LastValid(tmp_path))
    assert repository.put(KEY, body(ingress=[{}])).policies
    (tmp_path / "file").touch()
    refused = Repository("default", (4, 6), LastValid(tmp_path / "file"))
    assert refused.put(KEY, body(ingress=[{}])).policies
    refused.remove(KEY)
