# SPDX-License-Identifier: Apache-2.0
"""The shape of a JSON document: its keys and the types of what they hold. Pure.

Programs read `cilium-dbg status -o json` and `endpoint list -o json`; the files beside this one are
what these printed once, and no key of them may go or change its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# Objects whose keys are data, by their place: addresses, for instance.
OPEN = ("ipam.allocations",)


def golden(name: str) -> Any:
    """Return a stored document."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def shape(document: Any) -> set[str]:
    """Return `place: type` of all values; elements of a list share one place."""
    return set(_places(document, ""))


def missing(document: Any, stored: Any) -> list[str]:
    """Return the places of a stored document that another lacks or has in another type."""
    return sorted(shape(stored) - shape(document))


def _places(value: Any, place: str) -> Iterator[str]:
    match value:
        case dict():
            yield f"{place}: object"
            if place not in OPEN:
                for key, inner in value.items():
                    yield from _places(inner, f"{place}.{key}".lstrip("."))
        case list():
            yield f"{place}: list"
            for inner in value:
                yield from _places(inner, f"{place}[]")
        case bool():
            yield f"{place}: boolean"
        case int() | float():
            yield f"{place}: number"
        case str():
            yield f"{place}: text"
        case None:
            yield f"{place}: null"
