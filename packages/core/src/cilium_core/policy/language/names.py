# SPDX-License-Identifier: Apache-2.0
"""DNS names and patterns: toFQDNs, the names of TLS handshakes, DNS rules. Pure."""

from __future__ import annotations

import re

from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.language.selectors import exists, selector
from cilium_core.policy.rules import Policy, Selector

LONGEST = 255
SOURCE = "fqdn:"

_NAME = re.compile(r"[-a-zA-Z0-9_]+(\.[-a-zA-Z0-9_]+)*\.?")
_PATTERN = re.compile(r"[-a-zA-Z0-9_*]+(\.[-a-zA-Z0-9_*]+)*\.?")


def fqdn(field: Field) -> tuple[Selector, ...]:
    """Return the selector of one element of toFQDNs.

    It selects identities that carry `fqdn:<name or pattern>`. Those are made when an answer with
    such a name is seen; until then it selects nobody.
    """
    members = name_or_pattern(field)
    if len(members) > 1:
        field.refuse("either matchName or matchPattern, not both")
        return ()
    return tuple(selector(exists(f"{SOURCE}{text}")) for text in members.values())


def fqdns(policy: Policy) -> frozenset[str]:
    """Return every name and pattern that a policy has in toFQDNs, as in `fqdn:<text>`."""
    return frozenset(
        requirement.key.removeprefix(SOURCE)
        for rule in policy.rules
        if rule.peers is not None
        for one in rule.peers.selectors
        for requirement in one.requirements
        if requirement.key.startswith(SOURCE)
    )


def name_or_pattern(field: Field) -> dict[str, str]:
    """Return matchName and matchPattern, in the one form that they are compared in."""
    members = field.members(("matchName", "matchPattern"))
    if not members and field.value == {}:
        field.refuse("matchName or matchPattern is needed ('*' is every name)")
    found = {name: _read(member, name == "matchPattern") for name, member in members.items()}
    return {name: text for name, text in found.items() if text}


def name_pattern(field: Field) -> str | None:
    """Return a name in which `*` may stand."""
    return _read(field, True)


def _read(field: Field, pattern: bool) -> str | None:
    text = field.filled()
    if text is None:
        return None
    good = (_PATTERN if pattern else _NAME).fullmatch(text)
    if good and len(text) <= LONGEST:
        return text.lower().removesuffix(".")
    stars = ", '*'" if pattern else ""
    field.refuse(
        f"{shown(text)} is no DNS {'pattern' if pattern else 'name'}: letters, digits, '-', '_'"
        f"{stars}, with single dots between; {LONGEST} characters are the most"
    )
    return None
