# SPDX-License-Identifier: Apache-2.0
"""The figures that benches publish are computed as they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import bound, ratio
from bench.statistics import mad, paired_ratio, percentile

RATES = st.lists(st.floats(1, 1e6), min_size=1, max_size=30)


@given(RATES)
def test_a_thing_against_itself_is_one(samples):
    assert paired_ratio(samples, samples) == (1.0, 1.0, 1.0)


@given(RATES, st.floats(0, 1))
def test_percentile_covers_its_share(samples, share):
    value = percentile(samples, share)
    assert sum(sample <= value for sample in samples) >= share * len(samples) - 1e-3 * len(samples)


def test_mad():
    assert mad([1, 1, 2, 2, 4, 6, 9]) == 1


def test_unpaired_rounds_are_refused():
    with pytest.raises(ValueError, match="2 against 1"):
        paired_ratio([1.0, 2.0], [1.0])


def test_ratio_below_target_is_missed():
    assert ratio("r", [90.0] * 10, [100.0] * 10, "veth", 0.95).met is False
    assert ratio("r", [96.0] * 10, [100.0] * 10, "veth", 0.95).met is True


def test_bound_is_an_upper_bound():
    assert bound("b", [1.0, 2.0, 3.0], "ms", at_most=1.5).met is False
    assert bound("b", [1.0, 2.0, 3.0], "ms", at_most=2.0).met is True
    assert bound("b", [1.0], "ms").met is None
