# SPDX-License-Identifier: Apache-2.0
"""The policy objects of the cluster in the engine's form, and what is wrong with those that fail.

An object with a problem is never enforced in part. When it was valid before, its last valid form
stays in force until it is corrected or deleted: a slip in an edit opens nothing, nor does one
that is made while no agent runs. Pure but for `LastValid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cilium_agent.policy.lastvalid import LastValid
from cilium_core.addresses import Network
from cilium_core.errors import FieldError
from cilium_core.policy.available import unavailable
from cilium_core.policy.language import fqdns, parse, prefixes, problems
from cilium_core.policy.rules import Policy


class PolicyKey(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `Kind namespace/name`."""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}"


@dataclass(frozen=True, slots=True)
class Held:
    """One object: its rules in force, its text as written, and its problems if it has any."""

    policies: tuple[Policy, ...]
    body: Mapping[str, Any]
    problems: tuple[FieldError, ...] = ()
    prefixes: frozenset[Network] = frozenset()
    names: frozenset[str] = frozenset()


class Repository:
    """Objects by key."""

    def __init__(
        self, cluster: str, families: tuple[int, ...], last_valid: LastValid | None = None
    ) -> None:
        """`cluster` is this cluster's name, `families` are the IP versions that pods have.

        With `last_valid`, a mistaken edit leaves it in force in the next process, too.
        """
        self._last_valid = last_valid
        self._cluster = cluster
        self._families = families
        self._held: dict[PolicyKey, Held] = {}

    @property
    def held(self) -> Mapping[PolicyKey, Held]:
        """Every object, those with problems included."""
        return self._held

    def put(self, key: PolicyKey, body: Mapping[str, Any]) -> Held:
        """Read an object; return what is held of it now."""
        found = self._read(body)
        if found.problems:
            before = self._before(key)
            found = replace(
                found, policies=before.policies, prefixes=before.prefixes, names=before.names
            )
        elif self._last_valid is not None:
            self._last_valid.put(str(key), found.body)
        self._held[key] = found
        return self._held[key]

    def remove(self, key: PolicyKey) -> None:
        """Forget an object; unknown is not an error."""
        self._held.pop(key, None)
        if self._last_valid is not None:
            self._last_valid.drop(str(key))

    def listed(self) -> None:
        """Say that every object has been put: what is kept of others is of no use any more."""
        if self._last_valid is not None:
            self._last_valid.keep({str(key) for key in self._held})

    def prefixes(self) -> set[Network]:
        """Return every prefix that any policy in force names."""
        return {prefix for held in self._held.values() for prefix in held.prefixes}

    def names(self) -> set[str]:
        """Return every name and pattern that any policy in force has in toFQDNs."""
        return {name for held in self._held.values() for name in held.names}

    def _read(self, body: Mapping[str, Any]) -> Held:
        wrong = tuple(problems(body))
        policies = () if wrong else tuple(parse(body, self._cluster, self._families))
        wrong = wrong or tuple(unavailable(policies))
        if wrong:
            return Held((), body, wrong)
        named = frozenset(prefix for policy in policies for prefix in prefixes(policy))
        return Held(policies, body, (), named, frozenset().union(*map(fqdns, policies)))

    def _before(self, key: PolicyKey) -> Held:
        """Return what was valid of an object last, in an earlier process maybe."""
        held = self._held.get(key)
        if held is None and self._last_valid is not None:
            body = self._last_valid.get(str(key))
            held = self._read(body) if body is not None else None
        return held or Held((), {})
