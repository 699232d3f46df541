# SPDX-License-Identifier: Apache-2.0
"""Robust figures for noisy machines: median, MAD and a bootstrap interval of a paired ratio.

Pure; the only randomness is the bootstrap's, seeded, so the same samples give the same interval.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

RESAMPLES = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A ratio with the bounds of its bootstrap interval."""

    low: float
    middle: float
    high: float


def mad(samples: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    centre = median(samples)
    return median(abs(sample - centre) for sample in samples)


def paired_ratio(ours: Sequence[float], baseline: Sequence[float], seed: int = 1) -> Interval:
    """Return the median of per-round ratios ours/baseline with its interval.

    Rounds are paired: sample n of both was taken in the same round. ValueError when they are not
    of one length or empty.
    """
    if len(ours) != len(baseline) or not ours:
        raise ValueError(f"rounds do not pair: {len(ours)} against {len(baseline)}")
    ratios = [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
    rng = random.Random(seed)
    medians = sorted(median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    cut = int((1 - CONFIDENCE) / 2 * RESAMPLES)
    return Interval(medians[cut], median(ratios), medians[-cut - 1])


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` (0-1) of all samples do not exceed."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * round(share * 1000) // 1000))
    return ordered[rank - 1]
