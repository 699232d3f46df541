# SPDX-License-Identifier: Apache-2.0
"""Entities: exactly which identities each of them means."""

from __future__ import annotations

import pytest
from policy_objects import EVERYONE, IDENTITIES, INSIDE, WORLD, all_of, rules

from cilium_core.policy.language.entities import ENTITIES


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ("all", EVERYONE),
        ("world", WORLD),
        ("world-ipv4", {"world-ipv4", "ten", "ten-one"}),
        ("world-ipv6", {"world-ipv6", "fd"}),
        ("host", {"host"}),
        ("remote-node", {"remote-node"}),
        ("init", {"init"}),
        ("ingress", {"ingress"}),
        ("health", {"health"}),
        ("unmanaged", {"unmanaged"}),
        ("kube-apiserver", {"kube-apiserver"}),
        ("none", set()),
        ("cluster", INSIDE),
        ("cluster-mesh", {*INSIDE, "far"}),
    ],
)
def test_entity(entity: str, expected: set[str] | str) -> None:
    assert all_of(rules("ingress", {"fromEntities": [entity]})) == expected
    assert all_of(rules("egressDeny", {"toEntities": [entity]})) == expected


def test_all_are_tested_and_the_world_and_the_cluster_share_nothing() -> None:
    assert len(ENTITIES) == 14
    assert not WORLD & INSIDE
    assert WORLD | INSIDE | {"far"} == set(IDENTITIES)
