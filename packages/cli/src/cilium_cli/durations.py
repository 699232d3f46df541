# SPDX-License-Identifier: Apache-2.0
"""Durations as Go and Helm write them."""

from __future__ import annotations

import re

from cilium_cli.errors import CliError

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(flag: str, text: str) -> float:
    """Return the seconds of a text such as 1h2m3s or 90s. CliError names the flag."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise CliError(f"{flag}: {text!r} is not a duration such as 5m0s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
