# SPDX-License-Identifier: Apache-2.0
"""Regular expressions as RE2 takes them, which is what Envoy has. Pure.

They are read by Python's `re`, so what one of the two knows and the other does not is settled here:
an expression that a proxy would refuse must be refused before a connection is led to it.
"""

from __future__ import annotations

import re
import warnings

from cilium_core.policy.language.fields import Field, shown

MOST_REPEATS = 1000  # RE2's own limit, also for repeats within repeats
# What Python has beyond RE2, once escapes and classes are gone.
_BEYOND = re.compile(r"\(\?(?:[=!#(>]|<[=!]|P=|[imsU-]*[axuL])|[*+?}]\+")
_BEYOND_ESCAPES = re.compile(r"\\[1-9ZuUN]")
_BEYOND_CLASS = re.compile(r"\[[^\]]*?(\\b)")
_BLANKED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
# What RE2 has beyond Python, with something that Python takes in its place.
_PROPERTY = re.compile(r"\\[pP](?:\{\^?\w+\}|[A-Z])")
_TOKEN = re.compile(r"[()|]|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)


def expression(field: Field) -> str | None:
    """Return a regular expression, None when it is absent or refused."""
    text = field.text()
    if text is None:
        return None
    if used := _beyond(text):
        field.refuse(f"{shown(text)}: {shown(used)} is not part of RE2's expressions")
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(_PROPERTY.sub("x", text).replace(r"\z", r"\Z"))
    except (re.error, OverflowError, RecursionError) as error:
        field.refuse(f"{shown(text)} is no regular expression: {error}")
        return None
    if (times := _repeats(_plain(text))) > MOST_REPEATS:
        field.refuse(f"{shown(text)} repeats {times} times; {MOST_REPEATS} are the most")
        return None
    return text


def _beyond(text: str) -> str:
    """Return what RE2 does not know, empty for nothing."""
    doubled = text.replace("\\\\", "xx")
    for found in (_BEYOND_ESCAPES.search(doubled), _BEYOND.search(_plain(text))):
        if found:
            return found.group()
    found = _BEYOND_CLASS.search(doubled)
    return found.group(1) if found else ""


def _plain(text: str) -> str:
    """Return it with escapes and classes as letters."""
    return _CLASS.sub("x", _BLANKED.sub("x", text))


def _repeats(text: str) -> int:
    """Return how often the most repeated part is repeated, groups within groups multiplied."""
    most, stack, last = 1, [1], 1  # `last` is the product within the part just read
    for token in _TOKEN.finditer(text):
        match token.group():
            case "(":
                stack.append(1)
                continue
            case ")":
                last = stack.pop() if len(stack) > 1 else 1
            case "|":
                last = 1
            case _ if token.group(1):
                last *= max(int(token.group(1)), int(token.group(2) or 0), 1)
            case "*" | "+" | "?":
                continue
            case _:
                last = 1
        stack[-1] = max(stack[-1], last)
        most = max(most, last)
    return most
