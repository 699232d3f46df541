# SPDX-License-Identifier: Apache-2.0
"""A stretch of rows with everything that their numbers stand for, as bytes and back. Pure.

A segment explains itself: names are of the moment at which its rows were taken, and deleting it
leaves nothing behind. Columns are kept by name, one after the other, so that a version with other
columns reads what it knows; alike values side by side also compress well.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilium_hubble.flows.chunk import Names, Table
from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.record import LOST, STORED
from cilium_hubble.kernel.dtypes import Rows
from cilium_hubble.state.model import Node, Origin, Party, ServiceName

T = TypeVar("T")
_LEVEL = 1  # of zlib: the fastest, and columns give a factor of ten already


class Captured(NamedTuple):
    """Rows with numbers of their own tables: nothing in it changes any more."""

    head: int
    first: int  # sequence number of the first row
    rows: Rows
    parties: list[Party]
    services: list[ServiceName]
    origins: list[tuple[Origin, ...]]
    fqdns: list[tuple[str, ...]]
    payloads: dict[int, bytes]
    links: dict[int, str]
    node: Node

    @property
    def flows(self) -> int:
        """Return how many rows are flows."""
        return int(np.count_nonzero(self.rows["type"] != LOST))


class _Packed(msgspec.Struct):
    """What is compressed."""

    head: int
    first: int
    count: int
    columns: dict[str, tuple[str, bytes]]
    parties: list[Party]
    services: list[ServiceName]
    origins: list[tuple[Origin, ...]]
    fqdns: list[tuple[str, ...]]
    payloads: dict[int, bytes]
    links: dict[int, str]
    node: Node


class Segment(NamedTuple):
    """Rows in order of time with their sequence numbers, and their names."""

    rows: Rows
    sequences: NDArray[np.int64]
    names: Names


class Unreadable(ValueError):
    """These bytes are no segment."""


def capture(rows: Rows, first: int, names: Names) -> Captured:
    """Take rows out of the tables that change, in the turn in which they were read.

    `rows` are changed: they get the numbers of the result's tables.
    """
    return Captured(
        names.ids.head,
        first,
        rows,
        _local(rows, names.parties, "source_party", "destination_party"),
        _local(rows, names.services, "source_service", "destination_service"),
        _local(rows, names.origins, "rules"),
        _local(rows, names.fqdns, "source_names", "destination_names"),
        {
            number: text
            for number in rows["payload"][rows["payload"] != 0].tolist()
            if (text := names.payloads.get(number)) is not None
        },
        {index: names.link(index) for index in np.unique(rows["ifindex"]).tolist() if index},
        names.node(),
    )


def pack(captured: Captured) -> bytes:
    """Return the bytes; slow (ms), for a thread."""
    rows = captured.rows
    columns = {name: (rows[name].dtype.str, rows[name].tobytes()) for name in STORED.names or ()}
    columns["time"] = ("<i8", np.diff(rows["time"], prepend=0).tobytes())
    columns = {name: (kind, raw) for name, (kind, raw) in columns.items() if raw.strip(b"\0")}
    packed = _Packed(
        captured.head,
        captured.first,
        len(rows),
        columns,
        *captured[3:],
    )
    return zlib.compress(msgspec.msgpack.encode(packed), _LEVEL)


def unpack(raw: bytes) -> Segment:
    """Return what was packed, in order of time. Unreadable for anything else."""
    try:
        packed = msgspec.msgpack.decode(zlib.decompress(raw), type=_Packed)
        rows = _rows(packed)
    except (zlib.error, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Unreadable(str(error)) from error
    sequences = np.arange(packed.first, packed.first + packed.count, dtype="i8")
    times = rows["time"]
    if not bool((times[1:] >= times[:-1]).all()):
        order = np.argsort(times, kind="stable")
        rows, sequences = rows[order], sequences[order]
    node = packed.node
    return Segment(
        rows,
        sequences,
        Names(
            packed.parties,
            packed.services,
            packed.origins,
            FlowIds(packed.head),
            lambda index: packed.links.get(index, ""),
            lambda: node,
            packed.payloads,
            packed.fqdns,
        ),
    )


def _rows(packed: _Packed) -> Rows:
    rows: Rows = np.zeros(packed.count, STORED)
    for name, (kind, raw) in packed.columns.items():
        if name not in (STORED.names or ()):
            continue
        values: NDArray[Any] = np.frombuffer(raw, kind)
        rows[name] = values.reshape(rows[name].shape)
    rows["time"] = np.cumsum(rows["time"])
    tables: tuple[tuple[int, tuple[str, ...]], ...] = (
        (len(packed.parties), ("source_party", "destination_party")),
        (len(packed.services), ("source_service", "destination_service")),
        (len(packed.origins), ("rules",)),
        (len(packed.fqdns), ("source_names", "destination_names")),
    )
    for length, columns in tables:
        if packed.count and max(int(rows[name].max()) for name in columns) >= length:
            raise ValueError(f"{columns[0]} names what is not there")
    return rows


def _local(rows: Rows, table: Table[T], *columns: str) -> list[T]:
    """Renumber columns from 0 on, 0 staying nobody; return the values by their new number."""
    if not len(rows):
        return [table[0]]
    used = np.zeros(1 + max(int(rows[name].max()) for name in columns), bool)
    used[0] = True
    for name in columns:
        used[rows[name]] = True
    places = np.cumsum(used, dtype="u4") - 1
    for name in columns:
        rows[name] = places[rows[name]]
    return [table[number] for number in np.flatnonzero(used).tolist()]
