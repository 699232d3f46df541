# SPDX-License-Identifier: Apache-2.0
"""Label selectors: keys with or without a source, matchLabels and matchExpressions. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.rules import Operator, Requirement, Selector

ANY = "any"
KUBERNETES = "k8s"

_SOURCE = re.compile(r"[A-Za-z0-9]+")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LONGEST_NAME, _LONGEST_PREFIX = 63, 253

# Turns a key as it is written into `source:key`, or complains and returns None.
KeyReader = Callable[[Field, str], str | None]


def with_source(default: str) -> KeyReader:
    """Return a reader of keys that may name their source (`k8s:app`); others get `default`."""

    def read(field: Field, key: str) -> str | None:
        source, colon, name = key.partition(":")
        if not colon:
            source, name = default, key
        elif not _SOURCE.fullmatch(source):
            field.refuse(
                f"{shown(key)} is no label key: before the ':' stands a source, letters and digits"
            )
            return None
        return f"{source}:{name}" if _is_name(field, key, name) else None

    return read


def kubernetes(prefix: str = "") -> KeyReader:
    """Return a reader of plain Kubernetes keys; they get the source k8s and `prefix`."""

    def read(field: Field, key: str) -> str | None:
        return f"{KUBERNETES}:{prefix}{key}" if _is_name(field, key, key) else None

    return read


def requirements(
    field: Field, key: KeyReader, fixed: Mapping[str, str] | None = None
) -> tuple[Requirement, ...]:
    """Return what a label selector asks for, in the order of keys.

    `fixed` labels (`source:key` to value) take the place of those in matchLabels.
    """
    members = field.members(("matchLabels", "matchExpressions"))
    fixed = fixed or {}
    found = [equals(name, value) for name, value in fixed.items()]
    if labels := members.get("matchLabels"):
        found += [one for one in _match_labels(labels, key) if one.key not in fixed]
    if expressions := members.get("matchExpressions"):
        found += [one for item in expressions.items() if (one := _expression(item, key))]
    return ordered(found)


def ordered(found: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return requirements as a Selector holds them: each once, in the order of keys."""
    return tuple(sorted(set(found), key=lambda one: (one.key, one.operator, one.values)))


def selector(*found: Requirement) -> Selector:
    """Return the selector of these requirements."""
    return Selector(ordered(found))


def equals(key: str, value: str) -> Requirement:
    """Return the requirement that a label has one value."""
    return Requirement(key, Operator.IN, (value,))


def exists(key: str) -> Requirement:
    """Return the requirement that a label is there."""
    return Requirement(key, Operator.EXISTS)


def is_object_name(text: str) -> bool:
    """Tell whether a text can name an object of Kubernetes (a DNS subdomain)."""
    return len(text) <= _LONGEST_PREFIX and bool(_SUBDOMAIN.fullmatch(text))


def _match_labels(field: Field, key: KeyReader) -> list[Requirement]:
    found = []
    for name, raw in field.entries().items():
        label = field.key(name, raw)
        full, value = key(label, name), _value(label)
        if full is not None and value is not None:
            found.append(equals(full, value))
    return found


def _expression(field: Field, key: KeyReader) -> Requirement | None:
    if not field.is_object():
        return None
    members = field.members(("key", "operator", "values"))
    name = members["key"].filled() if "key" in members else None
    word = members["operator"].choice(list(Operator)) if "operator" in members else None
    for missing in ("key", "operator"):
        if missing not in members:
            field.refuse_member(missing)
    values = _values(field, members.get("values"), word)
    full = key(members["key"], name) if name else None
    if full is None or word is None or values is None:
        return None
    return Requirement(full, Operator(word), values)


def _values(field: Field, values: Field | None, operator: str | None) -> tuple[str, ...] | None:
    items = values.items() if values else []
    texts = [_value(item) for item in items]
    if operator in (Operator.IN, Operator.NOT_IN) and not items:
        (values or field.child("values", None)).refuse(f"{operator} needs at least one value")
    elif operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and values and items:
        values.refuse(f"{operator} takes no values")
    if None in texts:
        return None
    return tuple(sorted({text for text in texts if text is not None}))


def _value(field: Field) -> str | None:
    text = field.text()
    if text is None or (len(text) <= _LONGEST_NAME and _VALUE.fullmatch(text)):
        return text
    field.refuse(
        f"{shown(text)} is no label value: up to 63 letters, digits, '-', '_' and '.', "
        "with a letter or digit at both ends"
    )
    return None


def _is_name(field: Field, key: str, name: str) -> bool:
    prefix, slash, rest = name.rpartition("/")
    good = len(rest) <= _LONGEST_NAME and bool(_NAME.fullmatch(rest))
    if slash:
        good = good and is_object_name(prefix)
    if not good:
        field.refuse(
            f"{shown(key)} is no label key: up to 63 letters, digits, '-', '_' and '.', "
            "with a letter or digit at both ends, after a DNS name and '/' if there is one"
        )
    return good
