# SPDX-License-Identifier: Apache-2.0
"""CiliumCIDRGroup: named prefixes, the labels they get, and how policies select them.

The identity of a group's prefix carries, beside its `cidr:` labels, one label for the group's name
and two for each of the group's own labels: `cidrgroup:team` and, because a prefix may be in groups
whose values differ, `cidrgroup:team+red`. Selectors use the latter for values. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from cilium_core.addresses import Network
from cilium_core.labels import LabelSet
from cilium_core.policy.language import selectors
from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.rules import Operator, Requirement, Selector

SOURCE = "cidrgroup:"
NAME = f"{SOURCE}io.cilium.policy.cidrgroupname/"

_MOST_ALTERNATIVES = 100


@dataclass(frozen=True, slots=True)
class CIDRGroup:
    """A group: the prefixes, and the labels that each of their identities gets because of it."""

    name: str
    labels: LabelSet
    prefixes: frozenset[Network]


def group_labels(name: str, labels: Mapping[str, str]) -> LabelSet:
    """Return what the identities of a group's prefixes carry because of its name and labels."""
    found = {f"{NAME}{name}": ""}
    for key, value in labels.items():
        found[f"{SOURCE}{key}"] = value
        found[_valued(key, value)] = ""
    return found


def by_name(field: Field) -> tuple[Selector, ...]:
    """Return the selector of a cidrGroupRef; a group that is not there has no identities yet."""
    name = field.text()
    if name is None:
        return ()
    if not selectors.is_object_name(name):
        field.refuse(f"{shown(name)} cannot be the name of a CiliumCIDRGroup")
        return ()
    return (selectors.selector(selectors.exists(f"{NAME}{name}")),)


def by_labels(field: Field) -> tuple[Selector, ...]:
    """Return the selectors of a cidrGroupSelector, one for each combination of `In` values."""
    wanted = selectors.requirements(field, _read)
    if not any(one.operator in (Operator.IN, Operator.EXISTS) for one in wanted):
        field.refuse(
            "needs matchLabels, In or Exists: without them it would also select what is in no group"
        )
        return ()
    alternatives = [tuple(_on_groups(one)) for one in wanted]
    count = 1
    for one in alternatives:
        count *= len(one)
    if count > _MOST_ALTERNATIVES:
        field.refuse(f"has {count} combinations of values; {_MOST_ALTERNATIVES} are the most")
        return ()
    return tuple(
        selectors.selector(*(req for part in choice for req in part))
        for choice in product(*alternatives)
    )


def _read(field: Field, key: str) -> str | None:
    full = selectors.kubernetes()(field, key)
    return full and f"{SOURCE}{key}"


def _on_groups(one: Requirement) -> Iterator[tuple[Requirement, ...]]:
    key = one.key.removeprefix(SOURCE)
    if one.operator is Operator.IN:
        for value in one.values:
            yield (selectors.exists(_valued(key, value)),)
    elif one.operator is Operator.NOT_IN:
        yield tuple(
            Requirement(_valued(key, value), Operator.DOES_NOT_EXIST) for value in one.values
        )
    else:
        yield (one,)


def _valued(key: str, value: str) -> str:
    return f"{SOURCE}{key}+{value}"
