# SPDX-License-Identifier: Apache-2.0
"""Intervals of ports as the fewest prefixes: exact, and no more than needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.policy.prefixes import PORT_BITS, prefixes


def said(found, port, inherited):
    """Return what the longest prefix over a port says."""
    best = (-1, inherited)
    for prefix in found:
        if port >> PORT_BITS - prefix.bits == prefix.port >> PORT_BITS - prefix.bits:
            best = max(best, (prefix.bits, prefix.content))
    return best[1]


CUTS = st.dictionaries(st.integers(1, 65535), st.integers(0, 3), max_size=6)


@given(CUTS, st.integers(0, 3))
def test_every_port_finds_its_content(cuts, first):
    cuts = {0: first, **cuts}
    starts = sorted(cuts)
    contents = [cuts[start] for start in starts]
    found = prefixes(starts, contents, 0)
    assert len({prefix[:2] for prefix in found}) == len(found)
    for start, content in zip(starts, contents, strict=True):
        assert said(found, start, 0) == content
    for end, content in zip([*starts[1:], 65536], contents, strict=True):
        assert said(found, end - 1, 0) == content


@pytest.mark.parametrize(
    ("cuts", "rows"),
    [
        ({0: 0}, 0),
        ({0: 1}, 1),
        ({0: 0, 80: 1, 81: 0}, 1),
        ({0: 1, 80: 0, 81: 1}, 2),
        ({0: 0, 1024: 1}, 2),
        ({0: 0, 1: 1}, 2),
        ({0: 0, 32768: 1}, 1),
        ({0: 0, 8000: 1, 8064: 0}, 1),
        ({0: 1, 80: 2, 81: 1, 443: 2, 444: 1}, 3),
        ({0: 0, 80: 1, 81: 2, 82: 0}, 2),
    ],
)
def test_no_more_prefixes_than_needed(cuts, rows):
    assert len(prefixes(list(cuts), list(cuts.values()), 0)) == rows
