# SPDX-License-Identifier: Apache-2.0
"""Elastic columns, as Go's text/tabwriter lays them out with a padding of 4 spaces.

A column is a run of adjacent lines that have a cell there which is not the line's last; its width
is that run's longest cell. ANSI colour codes take no width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PADDING = 4
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def visible(text: str) -> int:
    """Return the number of columns that a text takes."""
    return len(_ANSI.sub("", text))


def layout(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as aligned lines, each ended by a newline."""
    widths: list[list[int]] = [[0] * max(0, len(row) - 1) for row in rows]
    columns = max((len(row) - 1 for row in rows), default=0)
    for column in range(columns):
        start = 0
        while start < len(rows):
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            if end > start:
                width = max(visible(row[column]) for row in rows[start:end]) + PADDING
                for line in widths[start:end]:
                    line[column] = width
            start = max(end, start + 1)
    lines = []
    for row, spaces in zip(rows, widths, strict=True):
        padded = [
            cell + " " * (width - visible(cell))
            for cell, width in zip(row[:-1], spaces, strict=True)
        ]
        lines.append("".join(padded) + (row[-1] if row else ""))
    return "".join(line + "\n" for line in lines)
