# SPDX-License-Identifier: Apache-2.0
"""Label lists of flows: looking one up, and which `cidr:` labels are worth showing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_CIDR = "cidr:"


def value_of(labels: Sequence[str], key: str) -> str:
    """Return the value of `source:key` in a list of `source:key=value`, empty when absent."""
    head = f"{key}="
    return next((label[len(head) :] for label in labels if label.startswith(head)), "")


def shown_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels sorted, of all `cidr:` ones only the longest: it implies the rest."""
    cidrs = [label for label in labels if label.startswith(_CIDR)]
    if len(cidrs) > 1:
        longest = max(cidrs, key=_length)
        labels = [label for label in labels if label == longest or label not in cidrs]
    return tuple(sorted(labels))


def _length(label: str) -> int:
    length = label.rpartition("/")[2].partition("=")[0]
    return int(length) if length.isdecimal() else -1
