# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.translate import headers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("X-A", ("X-A", None)),
        ("X-A b", ("X-A", "b")),
        ("X-A: b c", ("X-A", "b c")),
        ("X ", ("X", "")),
    ],
)
def test_header_texts(text, found):
    assert headers.split(text) == found


def test_two_headers_that_may_differ_are_four_variants_and_one_that_changes_nothing():
    names = [("a", "ADD"), ("b", "DELETE"), ("c", "REPLACE"), ("d", "LOG")]
    rule = pb.HttpRule(
        header_matches=[{"name": name, "value": "v", "mismatch": how} for name, how in names]
    )
    found = [
        ([option.header.key for option in change.add], list(change.remove))
        for _, change in headers.changes("rule", rule)
    ]
    assert found[0] == ([], [])
    assert found[1:] == [(["c"], []), (["c"], ["b"]), (["c", "a"], []), (["c", "a"], ["b"])]


def test_a_percent_sign_is_no_format():
    rule = pb.HttpRule(header_matches=[{"name": "a", "value": "%REQ(x)%", "mismatch": "REPLACE"}])
    _, (_, change) = headers.changes("rule", rule)
    assert change.add[0].header.value == "%%REQ(x)%%"
