# SPDX-License-Identifier: Apache-2.0
"""Flows a second over the last minute, from a counter that somebody samples. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 60.0


class Rate:
    """Samples (seconds, count) of a counter that only grows."""

    def __init__(self) -> None:
        """Start without samples."""
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, count: int) -> None:
        """Add a sample; times grow."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self) -> float:
        """Return the rate between the oldest and the newest sample, 0 with fewer than two."""
        if len(self._samples) < 2:
            return 0.0
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0
