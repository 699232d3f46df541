# SPDX-License-Identifier: Apache-2.0
"""The verdict of the tables on a packet, computed exactly as the kernel does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from cilium_core.policy.prefixes import PORT_BITS
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Row, RowKey, Tables


class Verdict(StrEnum):
    """What happens to a packet that no connection entry answers for."""

    ALLOW = "allow"
    DENY = "deny"  # by default: nothing allows it (or there is no row at all)
    DENY_RULE = "deny-by-rule"
    UNKNOWN = "unknown-identity"  # everyone may, but some may not, and who this is nobody knows yet
    L7 = "l7"  # to the proxy; a drop as long as the rule set has no listener


class Decision(NamedTuple):
    """A verdict and where it comes from: the row, and per word the bits that decided.

    `key` and `row` are None when no row covers the packet.
    """

    verdict: Verdict
    key: RowKey | None = None
    row: Row | None = None
    matched: tuple[tuple[int, int], ...] = ()


def decide(
    tables: Tables, policy: int, direction: Direction, protocol: int, port: int, identity: int
) -> Decision:
    """Judge a packet. `port` is the destination's (the message type of ICMP, 0 without ports)."""
    key = lookup(tables.rows, RowKey(policy, direction, protocol, port, PORT_BITS))
    if key is None:
        return Decision(Verdict.DENY)
    row = tables.rows[key]
    bits = [(cell, tables.bits.get((identity, cell.word), 0)) for cell in row.cells]
    for verdict, everyone, found in (
        (Verdict.DENY_RULE, row.any_deny, [(c.word, c.deny & b) for c, b in bits]),
        (Verdict.L7, row.any_l7, [(c.word, c.l7 & b) for c, b in bits]),
        (Verdict.ALLOW, row.any_allow, [(c.word, c.allow & b) for c, b in bits]),
    ):
        matched = tuple(pair for pair in found if pair[1])
        if everyone or matched:
            return Decision(verdict, key, row, matched)
    return Decision(Verdict.UNKNOWN if row.known_only else Verdict.DENY, key, row)


def lookup(rows: Mapping[RowKey, Row], key: RowKey) -> RowKey | None:
    """Return the longest prefix among the rows that covers `key` (itself included), or None."""
    return next((prefix for prefix in covering(key) if prefix in rows), None)


def covering(key: RowKey) -> Iterator[RowKey]:
    """Yield the prefixes that cover `key`, longest first, itself included."""
    policy, direction, protocol, port, bits = key
    if protocol != Protocol.ANY:
        for length in range(bits, -1, -1):
            mask = 0xFFFF << PORT_BITS - length & 0xFFFF
            yield RowKey(policy, direction, protocol, port & mask, length)
    yield RowKey(policy, direction)
