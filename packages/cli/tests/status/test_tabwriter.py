# SPDX-License-Identifier: Apache-2.0
"""Columns as Go's tabwriter makes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cilium_cli.status.tabwriter import layout, visible


def test_a_column_ends_at_a_line_without_it() -> None:
    rows = [["a", "bbbb", "c"], ["a", "b", "c"], ["long first", "rest"], ["a", "b", "c"]]
    assert layout(rows) == (
        "a             bbbb    c\n"
        "a             b       c\n"
        "long first    rest\n"
        "a             b    c\n"
    )


def test_an_empty_line_ends_all_columns() -> None:
    assert layout([["aaaa", "x"], [""], ["a", "x"]]) == "aaaa    x\n\na    x\n"


def test_colours_take_no_width() -> None:
    assert layout([["\033[31mred\033[0m", "x"], ["plain", "x"]]).splitlines()[0] == (
        "\033[31mred\033[0m      x"
    )


def slow(rows: list[list[str]]) -> str:
    """Go's own recursion, written out: format(start, end, column), block by block."""
    widths: list[int] = []
    out: list[str] = []

    def write(start: int, end: int) -> None:
        for row in rows[start:end]:
            cells = [c.ljust(widths[i]) if i < len(widths) else c for i, c in enumerate(row)]
            out.append("".join(cells) + "\n")

    def form(start: int, end: int) -> None:
        column = len(widths)
        this = start
        while this < end:
            if column >= len(rows[this]) - 1:
                this += 1
                continue
            write(start, this)
            first = this
            width = 0
            while this < end and column < len(rows[this]) - 1:
                width = max(width, len(rows[this][column]) + 4)
                this += 1
            widths.append(width)
            form(first, this)
            widths.pop()
            start = this
        write(start, end)

    form(0, len(rows))
    return "".join(out)


@given(st.lists(st.lists(st.text("abc", max_size=6), min_size=1, max_size=5), max_size=12))
def test_same_as_go(rows: list[list[str]]) -> None:
    assert layout(rows) == slow(rows)


@given(st.text("abc", max_size=10))
def test_visible(text: str) -> None:
    assert visible(f"\033[1;31m{text}\033[0m") == len(text)
