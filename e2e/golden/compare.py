# SPDX-License-Identifier: Apache-2.0
"""Holds the text of `cilium status` against the article's, permitted differences aside.

Pure text work. Every permitted difference stands in status_differences.yaml with its reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
GOLDEN = FOLDER / "status.txt"
DIFFERENCES = FOLDER / "status_differences.yaml"
_COUNT = re.compile(r"^Cluster Pods: +(\d+)/(\d+) managed by Cilium$", re.MULTILINE)
_MISSING = re.compile(r"^Not yet available: +(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Difference:
    """One permitted difference: a replacement on lines, or the sorting of a block."""

    id: str
    why: str
    side: str
    pattern: str = ""
    replace: str | None = None
    sort: str = ""
    feature: str = ""

    def apply(self, lines: list[str]) -> list[str]:
        """Return the lines with this difference taken out."""
        if self.sort:
            return _sort_block(lines, self.sort)
        expression = re.compile(self.pattern)
        if self.replace is None:
            return _drop(lines, expression)
        return [expression.sub(self.replace, line) for line in lines]


def permitted() -> list[Difference]:
    """Return the list of permitted differences."""
    entries: list[dict[str, Any]] = yaml.safe_load(DIFFERENCES.read_text())["differences"]
    return [Difference(**entry) for entry in entries]


def not_permitted(actual: str, article: str | None = None) -> list[str]:
    """Return a unified diff of what differs and may not; empty when the status is as it should be.

    `actual` is uncoloured output of `cilium status`.
    """
    article = GOLDEN.read_text() if article is None else article
    missing = _MISSING.search(actual)
    features = set(missing.group(1).split(", ")) if missing else set()
    ours, theirs = actual.splitlines(), article.splitlines()
    for difference in permitted():
        if difference.feature and difference.feature not in features:
            continue
        if difference.side in ("actual", "both"):
            ours = difference.apply(ours)
        if difference.side in ("article", "both"):
            theirs = difference.apply(theirs)
    found = list(unified_diff(_trim(theirs), _trim(ours), "article", "actual", lineterm="", n=0))
    count = _COUNT.search(actual)
    if count and int(count.group(1)) > int(count.group(2)):
        found.append(f"more pods are managed than there are: {count.group(0)}")
    return found


def _trim(lines: list[str]) -> list[str]:
    """Drop empty lines at the end."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def _block(lines: list[str], header: str) -> tuple[int, int]:
    """Return the range of a block: the line with the header and the indented ones below it."""
    for start, line in enumerate(lines):
        if line.startswith(header):
            end = start + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            return start, end
    return 0, 0


def _sort_block(lines: list[str], header: str) -> list[str]:
    start, end = _block(lines, header)
    if start == end:
        return lines
    bodies = sorted(line[len(header) :] for line in lines[start:end])
    heads = [header] + [" " * len(header)] * (len(bodies) - 1)
    rows = [head + body for head, body in zip(heads, bodies, strict=True)]
    return lines[:start] + rows + lines[end:]


def _drop(lines: list[str], expression: re.Pattern[str]) -> list[str]:
    return [line for line in lines if not expression.match(line)]
