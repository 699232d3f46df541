# SPDX-License-Identifier: Apache-2.0
"""What the kernel's policy tables say: for one policy, identity by identity, and whole. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cilium_agent.api.connections import protocol_text
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Row, RowKey, Tables

ANY = 0  # stands for every identity, known or not
PORT_BITS = 16


def policy_entries(
    tables: Tables, policy: int, labels: Mapping[int, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return a policy's entries: direction, identity with its labels, ports, verdict.

    Denies first, then by direction, identity and port. `prefix` is how many bits of protocol and
    port the entry matches, 0 to 24.
    """
    users: dict[int, list[tuple[int, int]]] = {}
    for (identity, word), bits in tables.bits.items():
        users.setdefault(word, []).append((identity, bits))
    found = [
        (verdict, key, identity)
        for key, row in tables.rows.items()
        if key.policy == policy
        for verdict, identity in _of_row(row, users)
    ]
    found.sort(key=lambda item: (item[0] != "deny", item[1].direction, item[2], item[1]))
    return [
        {
            "policy": verdict,
            "direction": Direction(key.direction).name.lower(),
            "identity": identity,
            "labels": list(labels.get(identity, ())),
            "ports": ports_text(key),
            "prefix": 0 if key.protocol == Protocol.ANY else 8 + key.port_bits,
        }
        for verdict, key, identity in found
    ]


def whole_tables(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """Return the rows and bits as they are, so that every verdict can be worked out from them."""
    rows = [
        {
            "policy": key.policy,
            "direction": Direction(key.direction).name.lower(),
            "protocol": int(key.protocol),
            "port": key.port,
            "port-bits": key.port_bits,
            "any": {"allow": row.any_allow, "deny": row.any_deny, "l7": row.any_l7},
            "cells": [cell._asdict() for cell in row.cells],
        }
        for key, row in sorted(tables.rows.items())
    ]
    bits = [
        {"identity": identity, "word": word, "bits": held}
        for (identity, word), held in sorted(tables.bits.items())
    ]
    return {"rows": rows, "bits": bits}


def _of_row(row: Row, users: Mapping[int, Sequence[tuple[int, int]]]) -> Iterator[tuple[str, int]]:
    flags = {"deny": row.any_deny, "l7": row.any_l7, "allow": row.any_allow}
    seen = {(verdict, ANY) for verdict, is_set in flags.items() if is_set}
    for cell in row.cells:
        for identity, bits in users.get(cell.word, ()):
            sets = {"deny": cell.deny, "l7": cell.l7, "allow": cell.allow}
            seen |= {(verdict, identity) for verdict, mask in sets.items() if bits & mask}
    yield from sorted(seen)


def ports_text(key: RowKey) -> str:
    """Return `ANY`, `TCP`, `80/TCP` or `64-127/TCP`; for ICMP the number is the message type."""
    name = protocol_text(key.protocol)
    if key.protocol == Protocol.ANY or key.port_bits == 0:
        return name
    last = key.port | (1 << PORT_BITS - key.port_bits) - 1
    return f"{key.port}/{name}" if last == key.port else f"{key.port}-{last}/{name}"
