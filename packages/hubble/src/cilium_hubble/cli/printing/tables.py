# SPDX-License-Identifier: Apache-2.0
"""Columns aligned by blanks, as upstream's tables: three between, none after the last. Pure."""

from __future__ import annotations

from collections.abc import Sequence

PADDING = 3
MIN_WIDTH = 2


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines; a row's last cell is not padded. Empty for no rows."""
    widths: dict[int, int] = {}
    for row in rows:
        for place, cell in enumerate(row[:-1]):
            widths[place] = max(widths.get(place, MIN_WIDTH), len(cell) + PADDING)
    return "".join(
        "".join(cell.ljust(widths[place]) for place, cell in enumerate(row[:-1])) + row[-1] + "\n"
        for row in rows
    )
