# SPDX-License-Identifier: Apache-2.0
"""A value inside a decoded object, its path, and the list that complaints about it go to.

Every reader of the language asks a Field for what it needs. A Field never raises: a wrong value
is a complaint and a None (or nothing), so one look finds every mistake. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cilium_core.errors import FieldError

NOT_YET = "not supported by this version"
_SHOWN = 80
_NUMBER_BITS = 64


def shown(value: object) -> str:
    """Return a value as a message shows it: short text and numbers as they are, else the type."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _NUMBER_BITS:
        return "a number of that size"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _as_key(name: str) -> str:
    # A path stays one readable line, whatever keys an object has.
    return _short(name if name.isprintable() else ascii(name)[1:-1])


class Field:
    """One value of an object. `path` is what a user can find it by, such as `spec.ingress[0]`."""

    __slots__ = ("_errors", "path", "value")

    def __init__(self, value: object, path: str, errors: list[FieldError]) -> None:
        """Wrap a value; complaints are appended to `errors`."""
        self.value = value
        self.path = path
        self._errors = errors

    def refuse(self, reason: str) -> None:
        """Complain about this field."""
        self._errors.append(FieldError(self.path, reason))

    def child(self, name: str, value: object) -> Field:
        """Return a member of this object."""
        dot = "." if self.path else ""
        return Field(value, f"{self.path}{dot}{_as_key(name)}", self._errors)

    def key(self, name: str, value: object) -> Field:
        """Return what stands under one of an object's free keys."""
        return Field(value, f"{self.path}[{_as_key(name)}]", self._errors)

    def refuse_member(self, name: str, reason: str = "is needed") -> None:
        """Complain about a member, there or not."""
        self.child(name, None).refuse(reason)

    def is_object(self) -> bool:
        """Tell whether it is an object; a complaint when not."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"an object is needed, not {shown(self.value)}")
        return isinstance(self.value, Mapping)

    def entries(self) -> dict[str, object]:
        """Return an object with free keys; a complaint and nothing when it is no object."""
        if not self.is_object() or not isinstance(self.value, Mapping):
            return {}
        found = {}
        for key, value in self.value.items():
            if isinstance(key, str):
                found[key] = value
            else:
                self.refuse(f"the key {shown(key)} is no text")
        return found

    def members(
        self,
        known: Collection[str],
        refused: Mapping[str, str] | None = None,
    ) -> dict[str, Field]:
        """Return an object's fields that are there (null is as good as absent).

        Other names than the `known` ones are complained about, in the words of `refused` if it
        has the name.
        """
        found = {}
        for name, value in self.entries().items():
            if value is None:
                continue
            field = self.child(name, value)
            if name in known:
                found[name] = field
            elif refused and name in refused:
                field.refuse(refused[name])
            else:
                field.refuse(f"unknown field; {one_of(known)} can stand here")
        return found

    def items(self) -> list[Field]:
        """Return a list's elements; a complaint and nothing when it is no list."""
        if not isinstance(self.value, list | tuple):
            self.refuse(f"a list is needed, not {shown(self.value)}")
            return []
        return [
            Field(value, f"{self.path}[{n}]", self._errors) for n, value in enumerate(self.value)
        ]

    def text(self) -> str | None:
        """Return a text."""
        if isinstance(self.value, str):
            return self.value
        quotes = "; put it in quotes" if isinstance(self.value, bool | int | float) else ""
        self.refuse(f"a text is needed, not {shown(self.value)}{quotes}")
        return None

    def filled(self) -> str | None:
        """Return a text that is not empty."""
        text = self.text()
        if text == "":
            self.refuse("must not be empty")
            return None
        return text

    def choice(self, allowed: Collection[str]) -> str | None:
        """Return a text out of a closed list."""
        text = self.text()
        if text is None or text in allowed:
            return text
        self.refuse(f"{shown(text)} is unknown; use {one_of(allowed)}")
        return None

    def integer(self, low: int, high: int) -> int | None:
        """Return a whole number from `low` to `high`."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has but one kind of number
        if not isinstance(value, int) or isinstance(value, bool):
            hint = "; leave the quotes out" if _is_quoted_number(value) else ""
            self.refuse(f"a number is needed, not {shown(value)}{hint}")
            return None
        if not low <= value <= high:
            self.refuse(f"{shown(value)} is out of range; use {low} to {high}")
            return None
        return value

    def flag(self) -> bool | None:
        """Return true or false."""
        if isinstance(self.value, bool):
            return self.value
        self.refuse(f"true or false is needed, not {shown(self.value)}")
        return None


def one_of(words: Collection[str]) -> str:
    """Return `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _is_quoted_number(value: object) -> bool:
    return isinstance(value, str) and value.isdecimal()
