# SPDX-License-Identifier: Apache-2.0
"""Rows between the engine's form and the kernel's bytes. Pure.

A row with more cells than fit goes on in an overflow list. Lists never change, and rows with the
same remainder share one.
"""

from __future__ import annotations

from collections.abc import Mapping

from cilium_agent.datapath.errors import RowTooWide
from cilium_core.layouts import policy as layouts
from cilium_core.layouts.policy import LIST_CELLS, ROW_CELLS, ListInfo, ListKey, RowFlag, RowInfo
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey

Cells = tuple[Cell, ...]


def kernel_key(key: RowKey) -> layouts.RowKey:
    """Return the kernel's key of a row."""
    return layouts.RowKey(_prefixlen(key), key.policy, key.direction, key.protocol, key.port)


def key_of(raw: layouts.RowKey) -> RowKey:
    """Return the engine's key of a row in the kernel."""
    port_bits = max(0, raw.prefixlen - layouts.PREFIX_PROTOCOL)
    return RowKey(raw.policy, Direction(raw.direction), raw.protocol, raw.port, port_bits)


def _prefixlen(key: RowKey) -> int:
    if key.protocol == Protocol.ANY:
        return layouts.PREFIX_DIRECTION
    return layouts.PREFIX_PROTOCOL + key.port_bits


def overflow(row: Row) -> Cells:
    """Return the cells that do not fit into the row itself. RowTooWide when a list has no room."""
    rest = row.cells[ROW_CELLS:]
    if len(rest) > LIST_CELLS:
        raise RowTooWide(
            f"a row names {len(row.cells)} words of peer sets, {ROW_CELLS + LIST_CELLS} at most"
        )
    return rest


def kernel_row(key: RowKey, row: Row, list_id: int) -> RowInfo:
    """Return the kernel's row; `list_id` holds its overflow, 0 for none."""
    flags = (
        RowFlag.ANY_ALLOW * row.any_allow
        | RowFlag.ANY_DENY * row.any_deny
        | RowFlag.ANY_L7 * row.any_l7
        | RowFlag.KNOWN_ONLY * row.known_only
    )
    inline = layouts.Cell.pack_rows(
        (cell.word, 0, cell.allow, cell.deny, cell.l7) for cell in row.cells[:ROW_CELLS]
    )
    return RowInfo(
        int(flags),
        _prefixlen(key),
        len(row.cells),
        list_id,
        inline.ljust(ROW_CELLS * layouts.Cell.SIZE, b"\0"),
    )


def row_of(info: RowInfo, lists: Mapping[int, Cells]) -> Row:
    """Return the engine's row, with as much of its overflow as there is."""
    cells = tuple(
        Cell(word, allow, deny, l7)
        for word, _, allow, deny, l7 in layouts.Cell.unpack_rows(info.cells)
    )[: info.count]
    return Row(
        bool(info.flags & RowFlag.ANY_ALLOW),
        bool(info.flags & RowFlag.ANY_DENY),
        bool(info.flags & RowFlag.ANY_L7),
        cells + lists.get(info.list_id, ()),
        bool(info.flags & RowFlag.KNOWN_ONLY),
    )


def kernel_list(list_id: int, cells: Cells) -> dict[ListKey, ListInfo]:
    """Return the entries of an overflow list."""
    return {
        ListKey(list_id, index): ListInfo(
            list_id, index, cell.word, 0, cell.allow, cell.deny, cell.l7
        )
        for index, cell in enumerate(cells)
    }
