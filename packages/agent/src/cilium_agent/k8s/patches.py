# SPDX-License-Identifier: Apache-2.0
"""JSON merge patches (RFC 7386) as differences. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns `found` into `wanted`, empty when they are equal.

    A key that is not wanted is removed (null); lists are replaced whole, as merge patches do.
    """
    patch: dict[str, Any] = {key: None for key in found if key not in wanted}
    for key, value in wanted.items():
        held = found.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            inner = merge_patch(held, value)
            if inner:
                patch[key] = inner
        elif key not in found or held != value:
            patch[key] = value
    return patch
