# SPDX-License-Identifier: Apache-2.0
"""From the kernel's boot clock to the wall clock, as both stand now."""

from __future__ import annotations

import time


def boot_to_wall() -> int:
    """Return the ns to add to a boot-clock time. A clock that is set moves it: ask per batch."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
