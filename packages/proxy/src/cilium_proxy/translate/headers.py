# SPDX-License-Identifier: Apache-2.0
"""Header conditions of an HTTP rule, and the changes that it asks for when they fail. Pure.

A mismatch that only logs refuses nothing. One that adds or deletes depends on the request, so a
rule with some of them becomes one route for each combination of those that match; REPLACE comes to
the same whether it matches or not. Where a rule changes nothing after all it is one that allows, so
that it does not hide the next one that changes something. A value that is kept in a Secret never
reaches the proxy, so a rule that compares with it matches nothing: what cannot be checked is not
allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from envoy.config.core.v3 import base_pb2

from cilium_core.policy.language.http import MOST_CONDITIONAL  # 16 routes
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.errors import RuleError
from cilium_proxy.translate.expressions import Expression
from cilium_proxy.translate.predicates import ANY_TEXT, Predicate, every, header, matches, negated

_OPTION = base_pb2.HeaderValueOption
_LOG = "LOG"


@dataclass(frozen=True, slots=True)
class Change:
    """What a route does to a request's headers."""

    add: tuple[base_pb2.HeaderValueOption, ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether it does anything."""
        return bool(self.add or self.remove)


def split(text: str) -> tuple[str, str | None]:
    """Take `Name`, `Name value` or `Name: value` apart."""
    name, blank, value = text.partition(" ")
    return name.removesuffix(":"), value if blank else None


def unknowable(rule: pb.HttpRule) -> bool:
    """Say whether the rule needs a value that only a Secret has."""
    return any(match.secret and match.mismatch != _LOG for match in rule.header_matches)


def conditions(rule: pb.HttpRule) -> list[Predicate]:
    """Return what must hold of the headers for the rule to match."""
    pairs = [split(text) for text in rule.headers]
    pairs += [(m.name, m.value or None) for m in rule.header_matches if not m.mismatch]
    return [_holds(name, value) for name, value in pairs]


def changes(where: str, rule: pb.HttpRule) -> Iterator[tuple[list[Predicate], Change]]:
    """Yield the variants of a rule: further conditions, and what is changed under them.

    RuleError for headers that a proxy may not change, and for too many variants.
    """
    acting = [m for m in rule.header_matches if m.mismatch not in ("", _LOG) and m.value]
    for match in acting:
        if match.name.lower() == "host" or match.name.startswith(":"):
            raise RuleError(where, f"header {match.name!r} may be compared, not changed")
    fixed = [m for m in acting if m.mismatch == "REPLACE"]
    varying = [m for m in acting if m.mismatch in ("ADD", "DELETE")]
    if len(varying) > MOST_CONDITIONAL:
        raise RuleError(where, f"more than {MOST_CONDITIONAL} headers to add or delete")
    for holds in itertools.product((True, False), repeat=len(varying)):
        found = list(zip(varying, holds, strict=True))
        predicates = [negated(_fails(m)) if held else _fails(m) for m, held in found]
        failed = [m for m, held in found if not held]
        if fixed and not failed:
            same = every([_holds(m.name, m.value) for m in fixed])
            yield [*predicates, same], Change()
            predicates.append(negated(same))
        yield predicates, _change(fixed, failed)


def _change(fixed: Sequence[pb.HeaderMatch], failed: Sequence[pb.HeaderMatch]) -> Change:
    options = [_option(m, _OPTION.OVERWRITE_IF_EXISTS_OR_ADD) for m in fixed]
    options += [_option(m, _OPTION.APPEND_IF_EXISTS_OR_ADD) for m in failed if m.mismatch == "ADD"]
    return Change(tuple(options), tuple(m.name for m in failed if m.mismatch == "DELETE"))


def _option(match: pb.HeaderMatch, how: int) -> base_pb2.HeaderValueOption:
    plain = match.value.replace("%", "%%")  # Envoy would read it as a format
    return _OPTION(header={"key": match.name, "value": plain}, append_action=how)


def _fails(match: pb.HeaderMatch) -> Predicate:
    """Return what is to be added or deleted: another value, and to be deleted it must be there."""
    other = negated(_holds(match.name, match.value))
    return every([_holds(match.name, None), other]) if match.mismatch == "DELETE" else other


def _holds(name: str, value: str | None) -> Predicate:
    return matches(header(name), ANY_TEXT if value is None else Expression(exact=(value,)))
