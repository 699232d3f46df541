# SPDX-License-Identifier: Apache-2.0
"""Declare a C struct once, as a frozen dataclass whose fields say their wire form.

A class decorated with `record` packs and unpacks itself; `fields()` gives names, offsets and
sizes so that a test can hold the declaration against the C struct's BTF. Layouts hold no
implicit padding: what C would pad is declared as `pad`. Pure.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple, Self, dataclass_transform, get_type_hints


class Wire(NamedTuple):
    """How one field lies in memory: a `struct` code and whether it is in network order."""

    code: str
    big_endian: bool = False


U8 = Annotated[int, Wire("B")]
U16 = Annotated[int, Wire("H")]
U32 = Annotated[int, Wire("I")]
U64 = Annotated[int, Wire("Q")]
Be16 = Annotated[int, Wire("H", big_endian=True)]
Raw16 = Annotated[bytes, Wire("16s")]
Mac = Annotated[bytes, Wire("6s")]


class Field(NamedTuple):
    """One member of a layout: offset and size in bytes."""

    name: str
    offset: int
    size: int


class Record:
    """Base of every layout; subclasses are made by `record`."""

    SIZE: ClassVar[int]
    C_NAME: ClassVar[str]
    _struct: ClassVar[struct.Struct]
    _swapped: ClassVar[tuple[int, ...]]
    _fields: ClassVar[tuple[Field, ...]]
    _names: ClassVar[tuple[str, ...]]

    def pack(self) -> bytes:
        """Return the struct's bytes. struct.error when a value does not fit its field."""
        values = [getattr(self, name) for name in self._names]
        for index in self._swapped:
            values[index] = _swap16(values[index])
        return self._struct.pack(*values)

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Return the record held in exactly SIZE bytes."""
        values: list[Any] = list(cls._struct.unpack(raw))
        for index in cls._swapped:
            values[index] = _swap16(values[index])
        return cls(*values)

    @classmethod
    def pack_rows(cls, rows: Iterable[tuple[Any, ...]]) -> bytes:
        """Return many records end to end, each given as its members' values in order.

        For large tables of which no object is wanted. TypeError for a layout that has members
        in network order.
        """
        return b"".join(itertools.starmap(cls._plain().pack, rows))

    @classmethod
    def unpack_rows(cls, raw: bytes) -> Iterator[tuple[Any, ...]]:
        """Return the members' values of each record in `raw`; TypeError as `pack_rows`."""
        return cls._plain().iter_unpack(raw)

    @classmethod
    def _plain(cls) -> struct.Struct:
        if cls._swapped:
            raise TypeError(f"{cls.__name__} has members in network order")
        return cls._struct

    @classmethod
    def layout(cls) -> tuple[Field, ...]:
        """Return the members with their offsets, in order."""
        return cls._fields


def _swap16(value: int) -> int:
    return int.from_bytes(value.to_bytes(2, "little"), "big")


@dataclass_transform(frozen_default=True)
def record(c_name: str) -> Any:
    """Make a frozen dataclass of the class and derive its packing from the annotations.

    `c_name` is the C struct's tag. TypeError when a field has no wire form or when natural
    alignment would need padding that is not declared.
    """

    def decorate(cls: type[Any]) -> type[Any]:
        made = dataclass(frozen=True, slots=False)(cls)
        hints = get_type_hints(made, include_extras=True)
        codes: list[str] = []
        swapped: list[int] = []
        laid: list[Field] = []
        offset = 0
        for index, field in enumerate(fields(made)):
            wire = _wire_of(made, field.name, hints[field.name])
            size = struct.calcsize("=" + wire.code)
            natural = 1 if wire.code.endswith("s") else size
            if offset % natural:
                raise TypeError(f"{made.__name__}.{field.name} is not aligned: declare padding")
            codes.append(wire.code)
            if wire.big_endian:
                swapped.append(index)
            laid.append(Field(field.name, offset, size))
            offset += size
        made._struct = struct.Struct("=" + "".join(codes))
        made._swapped = tuple(swapped)
        made._fields = tuple(laid)
        made._names = tuple(entry.name for entry in laid)
        made.SIZE = offset
        made.C_NAME = c_name
        return made

    return decorate


def _wire_of(owner: type[Any], name: str, hint: Any) -> Wire:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Wire):
            return extra
    raise TypeError(f"{owner.__name__}.{name} has no wire form")
