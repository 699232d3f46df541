# SPDX-License-Identifier: Apache-2.0
"""Label selectors as text: `k8s:app=web,tier in (a, b),!old,reserved:world`. Pure.

Kubernetes' grammar, with a source in front of a key where one is meant; a key without one, or with
`any:`, means a label of any source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cilium_core.errors import FieldError
from cilium_core.policy.rules import Operator, Requirement, Selector

_KEY = r"(?:[a-z0-9-]+:)?[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"[-A-Za-z0-9_.:/]*"
_TERM = re.compile(
    rf"""\s*(?:
      (?P<absent>!)\s*(?P<no_key>{_KEY})
    | (?P<set_key>{_KEY})\s+(?P<set_word>in|notin)\s*\((?P<values>[^)]*)\)
    | (?P<key>{_KEY})\s*(?:(?P<equals>!=|==?)\s*(?P<value>{_VALUE}))?
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_WORD = re.compile(_VALUE)


def selectors(texts: Sequence[str], path: str) -> Callable[[Sequence[str]], bool]:
    """Return a test of a label list (`source:key=value`): one of the selectors selects it."""
    parsed = [parse(text, f"{path}[{index}]") for index, text in enumerate(texts)]

    def test(labels: Sequence[str]) -> bool:
        held = {}
        for label in labels:
            key, _, value = label.partition("=")
            held[key if ":" in key else f"any:{key}"] = value
        return any(selector.matches(held) for selector in parsed)

    return test


def parse(text: str, path: str) -> Selector:
    """Return the selector of a text. FieldError shows where it stops being one."""
    requirements = []
    place = 0
    while place < len(text):
        term = _TERM.match(text, place)
        if term is None:
            raise FieldError(path, f"{text!r} is not a label selector from {text[place:]!r} on")
        requirements.append(_requirement(term, path))
        place = term.end()
    if not requirements or text.rstrip().endswith(","):
        raise FieldError(path, f"{text!r} is not a label selector: a label is missing")
    return Selector(tuple(requirements))


def _requirement(term: re.Match[str], path: str) -> Requirement:
    if term["absent"]:
        return Requirement(_full(term["no_key"]), Operator.DOES_NOT_EXIST)
    if term["set_key"]:
        values = [value.strip() for value in term["values"].split(",")]
        for value in values:
            if not _WORD.fullmatch(value):
                raise FieldError(path, f"{value!r} is not a label's value")
        operator = Operator.IN if term["set_word"] == "in" else Operator.NOT_IN
        return Requirement(_full(term["set_key"]), operator, tuple(sorted(values)))
    if term["equals"] is None:
        return Requirement(_full(term["key"]), Operator.EXISTS)
    operator = Operator.NOT_IN if term["equals"] == "!=" else Operator.IN
    return Requirement(_full(term["key"]), operator, (term["value"],))


def _full(key: str) -> str:
    return key if ":" in key else f"any:{key}"
