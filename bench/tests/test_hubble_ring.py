# SPDX-License-Identifier: Apache-2.0
"""The search for the highest rate without a loss, on a reader whose limit is known."""

import pytest

from bench.hubble_ring import FIRST_RATE, HALVINGS, LONG_SECONDS, Trial, _highest


class Field:
    """Loses above a limit, which is lower over a long run; the producer has a limit too."""

    def __init__(self, limit, long_limit=None, producer=float("inf")):
        self.limits = {LONG_SECONDS: long_limit or limit}
        self.limit, self.producer = limit, producer

    def trial(self, rate, seconds):
        reached = min(rate, self.producer)
        lost = 1 if reached > self.limits.get(seconds, self.limit) else 0
        return Trial(reached, int(reached * seconds), int(reached * seconds) - lost, lost, 0.5)


@pytest.mark.parametrize("limit", [FIRST_RATE * 0.8, FIRST_RATE, 123_456, 999_999])
def test_it_finds_the_limit(limit):
    found, trials = _highest(Field(limit))
    assert found.rate <= limit
    assert found.rate >= limit * (1 - 2 / 2**HALVINGS) * 0.9
    assert found is trials[-1]
    assert not found.lost


def test_what_a_long_run_loses_is_not_claimed():
    found, _ = _highest(Field(400_000, long_limit=300_000))
    assert 250_000 <= found.rate <= 300_000


def test_a_producer_that_does_not_keep_up_ends_the_search():
    found, _ = _highest(Field(2_000_000, producer=500_000))
    assert found.rate <= 500_000
