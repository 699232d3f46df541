# SPDX-License-Identifier: Apache-2.0
"""What a regular expression comes down to: certain texts, a beginning, or truly an expression.

Texts are looked up in a map and beginnings compared, whatever their number; expressions cost each
request one run each. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import re2

from cilium_proxy.errors import RuleError

_META = frozenset(".+*?()|[]{}^$\\")
_ANYTHING = ".*"


@dataclass(frozen=True, slots=True)
class Expression:
    """One of the three; all empty is an expression that every text matches."""

    exact: tuple[str, ...] = ()
    prefix: str = ""
    regex: str = ""

    @property
    def anything(self) -> bool:
        """Say whether every text matches."""
        return not (self.exact or self.prefix or self.regex)


def read(field: str, text: str) -> Expression:
    """Return what an expression, anchored at both ends, comes down to; absent is anything.

    RuleError names `field` when RE2 does not take the expression.
    """
    if not text or text == _ANYTHING:
        return Expression()
    texts = [_literal(part) for part in _bare(text).split("|")]
    if all(texts):
        return Expression(exact=tuple(dict.fromkeys(part for part in texts if part)))
    if text.endswith(_ANYTHING) and (beginning := _literal(text[: -len(_ANYTHING)])):
        return Expression(prefix=beginning)
    try:
        re2.compile(text)
    except re2.error as error:
        raise RuleError(field, f"{text!r} is no regular expression: {error}") from None
    return Expression(regex=text)


def _bare(text: str) -> str:
    """Take the brackets off `(a|b)`."""
    if text.startswith("(") and text.endswith(")") and "(" not in text[1:]:
        return text[1:-1].removeprefix("?:")
    return text


def _literal(text: str) -> str | None:
    r"""Return the one text that an expression matches, None when it may match others.

    A backslash makes punctuation plain; before letters and digits it is something else.
    """
    found = []
    characters = iter(text.removeprefix("^"))
    for character in characters:
        if character == "\\":
            character = next(characters, "a")
            if character.isalnum() or character == "_" or not character.isascii():
                return None
        elif character == "$" and next(characters, None) is None:
            break
        elif character in _META:
            return None
        found.append(character)
    return "".join(found)
