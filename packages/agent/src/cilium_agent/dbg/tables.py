# SPDX-License-Identifier: Apache-2.0
"""Text tables in columns padded to the widest cell plus three, as Go's tabwriter does. Pure."""

from __future__ import annotations

from collections.abc import Sequence

PADDING = 3


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return head and rows in columns; a row may leave cells at its end out."""
    lines = [list(head), *[list(row) for row in rows]]
    count = max(len(line) for line in lines)
    widths = [
        max((len(line[n]) for line in lines if n < len(line)), default=0) for n in range(count)
    ]
    return "\n".join(
        "".join(cell.ljust(widths[n] + PADDING) for n, cell in enumerate(line)).rstrip()
        for line in lines
    )


def labelled(rows: Sequence[tuple[str, str]]) -> str:
    """Return `Label:   value` lines, values in one column."""
    width = max((len(label) for label, _ in rows), default=0) + 1
    return "\n".join(f"{label + ':':<{width + PADDING}}{value}".rstrip() for label, value in rows)
