# SPDX-License-Identifier: Apache-2.0
"""The two pattern languages of L7 rules, as Python's: RE2 for HTTP, `*` for DNS names. Pure.

Both match whole texts. Compiled patterns are cached.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cilium_core.errors import FieldError

_CACHE = 1 << 14
_LABEL = "[-a-z0-9_]"
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_POSIX_CLASS = re.compile(r"\[:(\^?[a-z]+):\]")
_PROPERTY = re.compile(r"(?<!\\)((?:\\\\)*)\\[pP]")


@lru_cache(maxsize=_CACHE)
def expression(text: str) -> re.Pattern[str]:
    """Return an RE2 expression for `fullmatch`. FieldError for what only RE2 itself can judge."""
    if _PROPERTY.search(text):
        raise FieldError("expression", f"{text!r}: \\p classes can only be judged by the proxy")
    translated = _POSIX_CLASS.sub(lambda found: _posix(text, found[1]), text).replace(r"\z", r"\Z")
    return re.compile(translated, re.ASCII)


def _posix(text: str, name: str) -> str:
    if name not in _POSIX:
        raise FieldError("expression", f"{text!r}: [:{name}:] can only be judged by the proxy")
    return _POSIX[name]


@lru_cache(maxsize=_CACHE)
def name_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of DNS names for `fullmatch` on names in the form of `dns_name`.

    `*` stands for characters of one label, `**.` in front for one or more labels; `*` alone is
    every name.
    """
    if pattern == "*":
        return re.compile(".*", re.DOTALL)
    front = ""
    if pattern.startswith("**."):
        front, pattern = rf"{_LABEL}+(?:\.{_LABEL}+)*\.", pattern[3:]
    parts = (re.escape(part) for part in re.split(r"\*+", pattern))
    return re.compile(front + f"{_LABEL}*".join(parts))


def dns_name(text: str) -> str:
    """Return a name in the form that names are compared in: small letters, no dot at the end."""
    return text.lower().removesuffix(".")
