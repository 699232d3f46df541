# SPDX-License-Identifier: Apache-2.0
"""A key that goes, or changes its type, is seen; data is not."""

from __future__ import annotations

from e2e.golden.shapes import golden, missing, shape

STORED = {"a": 1, "b": [{"c": "x"}, {"d": None}], "ipam": {"allocations": {"10.0.0.1": "x"}}}


def test_the_same_keys_with_other_values_are_the_same() -> None:
    now = {"a": 2.5, "b": [{"c": "", "d": None}], "ipam": {"allocations": {}}, "new": True}
    assert missing(now, STORED) == []


def test_what_goes_or_changes_is_named() -> None:
    assert missing({"a": "1", "b": [{"c": "x"}], "ipam": {"allocations": {}}}, STORED) == [
        "a: number",
        "b[].d: null",
    ]


def test_what_is_stored_has_the_keys_that_upstreams_cli_reads() -> None:
    status = shape(golden("dbg-status"))
    for place in ("cilium.state", "kubernetes.state", "cluster.ciliumHealth.state", "hubble.state"):
        assert f"{place}: text" in status
    assert "controllers[].status.consecutive-failure-count: number" in status
    assert "[].status.state: text" in shape(golden("dbg-endpoint-list"))
