# SPDX-License-Identifier: Apache-2.0
"""Rules for HTTP requests: regular expressions, headers. Pure."""

from __future__ import annotations

import re

from cilium_core.policy.language.expressions import expression
from cilium_core.policy.language.fields import Field, shown

Rule = tuple[tuple[str, object], ...]

MISMATCHES = ("LOG", "ADD", "DELETE", "REPLACE")
_EXPRESSIONS = ("host", "method", "path")
# RFC 9110's token; the names that HTTP/2 gives to parts of the request may be compared as well.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+|:(?:method|path|authority|scheme)")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MOST_CONDITIONAL = 4  # headers to add or delete: the proxy has a route for each combination


def http_rule(field: Field) -> Rule:
    """Return one request pattern as sorted pairs; `()`, from `{}`, is every request.

    `headers` is a tuple of texts, `headerMatches` a tuple of pairs like the rule itself.
    """
    members = field.members((*_EXPRESSIONS, "headers", "headerMatches"))
    found: dict[str, object] = {}
    for name in _EXPRESSIONS:
        if name in members and (text := expression(members[name])):
            found[name] = text
    if "headers" in members:
        found["headers"] = tuple(map(_text, members["headers"].items()))
    if "headerMatches" in members:
        found["headerMatches"] = tuple(map(_header, members["headerMatches"].items()))
        _count(members["headerMatches"])
    return _pairs({name: value for name, value in found.items() if value})


def _text(field: Field) -> str | None:
    """Return `Name`, `Name value` or `Name: value`."""
    text = field.filled()
    if text:
        name, _, value = text.partition(" ")
        _check_name(field, name.removesuffix(":"))
        _check_value(field, value)
    return text


def _check_name(field: Field, name: str) -> None:
    if not _NAME.fullmatch(name):
        field.refuse(f"{shown(name)} is no name of a header")


def _check_value(field: Field, value: str) -> None:
    if found := _UNSENDABLE.search(value):
        field.refuse(f"{shown(found.group())} cannot stand in a header")


def _count(field: Field) -> None:
    conditional = ("ADD", "DELETE")
    entries = field.value if isinstance(field.value, list) else []
    acting = [e for e in entries if isinstance(e, dict) and e.get("mismatch") in conditional]
    if len(acting) > MOST_CONDITIONAL:
        field.refuse(f"{len(acting)} headers to add or delete; {MOST_CONDITIONAL} are the most")


def _header(field: Field) -> Rule:
    if not field.is_object():
        return ()
    members = field.members(("name", "value", "secret", "mismatch"))
    found: dict[str, object] = {}
    if "name" in members:
        found["name"] = name = members["name"].filled()
        if name:
            _check_name(members["name"], name)
    else:
        field.refuse_member("name", "is needed: the header")
    if "value" in members:
        found["value"] = value = members["value"].text()
        _check_value(members["value"], value or "")
    if "mismatch" in members:
        found["mismatch"] = members["mismatch"].choice(MISMATCHES)
    if found.get("mismatch") not in (None, "LOG") and _is_fixed(found.get("name")):
        members["name"].refuse(f"{shown(found['name'])} may be compared, not changed")
    if "secret" in members:
        found["secret"] = _secret(members["secret"])
    return _pairs(found)


def _is_fixed(name: object) -> bool:
    return isinstance(name, str) and (name.startswith(":") or name.lower() == "host")


def _secret(field: Field) -> Rule:
    members = field.members(("namespace", "name"))
    if "name" not in members:
        field.refuse_member("name", "is needed: the secret")
    return _pairs({name: member.filled() for name, member in members.items()})


def _pairs(found: dict[str, object]) -> Rule:
    return tuple(sorted(found.items()))
