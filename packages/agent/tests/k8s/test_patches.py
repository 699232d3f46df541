# SPDX-License-Identifier: Apache-2.0
"""A patch made of a difference leads where it should, and says nothing when there is none."""

from __future__ import annotations

from typing import Any

from fake_api import _merge
from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.k8s.patches import merge_patch

LEAVES = st.integers(0, 2) | st.text("ab", max_size=2) | st.lists(st.integers(0, 1), max_size=2)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAVES | inner, max_size=3),
    max_leaves=12,
)


@given(OBJECTS, OBJECTS)
def test_applied_it_gives_what_is_wanted(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert _merge(found, merge_patch(found, wanted)) == wanted
    assert merge_patch(wanted, wanted) == {}
