# SPDX-License-Identifier: Apache-2.0
"""Rules for HTTP requests: regular expressions, headers. Pure."""

from __future__ import annotations

import re
import warnings

from cilium_core.policy.language.fields import Field, shown

Rule = tuple[tuple[str, object], ...]

MISMATCHES = ("LOG", "ADD", "DELETE", "REPLACE")
_EXPRESSIONS = ("host", "method", "path")
# Envoy's expressions are RE2's. What Python has beyond them, once escapes and classes are gone:
_BEYOND = re.compile(r"\(\?(?:[=!#(>]|<[=!]|P=)|\\[1-9]|[*+?}]\+")
_ESCAPE = re.compile(r"\\[^1-9]", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
# What RE2 has beyond Python, with something that Python takes in its place.
_PROPERTY = re.compile(r"\\[pP](?:\{\^?\w+\}|[A-Z])")


def http_rule(field: Field) -> Rule:
    """Return one request pattern as sorted pairs; `()`, from `{}`, is every request.

    `headers` is a tuple of texts, `headerMatches` a tuple of pairs like the rule itself.
    """
    members = field.members((*_EXPRESSIONS, "headers", "headerMatches"))
    found: dict[str, object] = {}
    for name in _EXPRESSIONS:
        if name in members and (text := _expression(members[name])):
            found[name] = text
    if "headers" in members:
        found["headers"] = tuple(item.filled() for item in members["headers"].items())
    if "headerMatches" in members:
        found["headerMatches"] = tuple(map(_header, members["headerMatches"].items()))
    return _pairs({name: value for name, value in found.items() if value})


def _expression(field: Field) -> str | None:
    text = field.text()
    if text is None:
        return None
    if used := _BEYOND.search(_CLASS.sub("", _ESCAPE.sub("", text))):
        field.refuse(f"{shown(text)}: {shown(used.group())} is not part of RE2's expressions")
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(_PROPERTY.sub("x", text).replace(r"\z", r"\Z"))
    except (re.error, OverflowError, RecursionError) as error:
        field.refuse(f"{shown(text)} is no regular expression: {error}")
        return None
    return text


def _header(field: Field) -> Rule:
    if not field.is_object():
        return ()
    members = field.members(("name", "value", "secret", "mismatch"))
    found: dict[str, object] = {}
    if "name" in members:
        found["name"] = members["name"].filled()
    else:
        field.refuse_member("name", "is needed: the header")
    if "value" in members:
        found["value"] = members["value"].text()
    if "mismatch" in members:
        found["mismatch"] = members["mismatch"].choice(MISMATCHES)
    if "secret" in members:
        found["secret"] = _secret(members["secret"])
    return _pairs(found)


def _secret(field: Field) -> Rule:
    members = field.members(("namespace", "name"))
    if "name" not in members:
        field.refuse_member("name", "is needed: the secret")
    return _pairs({name: member.filled() for name, member in members.items()})


def _pairs(found: dict[str, object]) -> Rule:
    return tuple(sorted(found.items()))
