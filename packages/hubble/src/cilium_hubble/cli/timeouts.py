# SPDX-License-Identifier: Apache-2.0
"""Timeouts as flags give them. Pure."""

from __future__ import annotations

from cilium_core.errors import FieldError
from cilium_hubble.cli.printing.times import duration


def seconds_of(text: str) -> float:
    """Return the seconds of `--request-timeout`. FieldError for no duration."""
    nanos = duration(text)
    if not nanos:
        raise FieldError("--request-timeout", f"{text!r} is not a duration such as 12s")
    return nanos / 1e9
