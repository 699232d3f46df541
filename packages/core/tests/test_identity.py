# SPDX-License-Identifier: Apache-2.0
"""Scopes of identity numbers and the text of a label set."""

import pytest

from cilium_core.identity import Reserved, canonical_key, is_cluster_identity, is_local_scope


@pytest.mark.parametrize(
    ("number", "cluster", "local"),
    [
        (0, False, False),
        (255, False, False),
        (256, True, False),
        (65535, True, False),
        (65536, False, False),
        (16777216, False, True),
    ],
)
def test_scopes(number, cluster, local):
    assert is_cluster_identity(number) is cluster
    assert is_local_scope(number) is local


def test_reserved_names_are_upstreams():
    assert {r.label: int(r) for r in Reserved if r < 8} == {
        "unknown": 0,
        "host": 1,
        "world": 2,
        "unmanaged": 3,
        "health": 4,
        "init": 5,
        "remote-node": 6,
        "kube-apiserver": 7,
    }


def test_key_does_not_depend_on_order():
    assert canonical_key({"k8s:b": "2", "k8s:a": "1"}) == "k8s:a=1;k8s:b=2;"
