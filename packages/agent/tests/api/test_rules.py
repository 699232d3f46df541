# SPDX-License-Identifier: Apache-2.0
"""The policy tables spelt out by identity."""

from __future__ import annotations

import pytest

from cilium_agent.api.rules import policy_entries, ports_text, whole_tables
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey, Tables

IN, OUT = Direction.INGRESS, Direction.EGRESS
LABELS = {300: ["k8s:app=web"], 2: ["reserved:world"]}


def entries(rows: dict[RowKey, Row], bits: dict[tuple[int, int], int]) -> list[tuple[object, ...]]:
    return [tuple(entry.values()) for entry in policy_entries(Tables(rows, bits), 5, LABELS)]


def test_cells_name_the_identities_that_have_their_bits() -> None:
    rows = {
        RowKey(5, IN, 6, 80, 16): Row(cells=(Cell(0, 1, 0, 0), Cell(3, 0, 2, 4))),
        RowKey(6, IN): Row(any_allow=True),
    }
    bits = {(300, 0): 0b11, (300, 3): 0b100, (301, 0): 0b10, (2, 3): 0b010}
    assert entries(rows, bits) == [
        ("deny", "ingress", 2, ["reserved:world"], "80/TCP", 24),
        ("allow", "ingress", 300, ["k8s:app=web"], "80/TCP", 24),
        ("l7", "ingress", 300, ["k8s:app=web"], "80/TCP", 24),
    ]


def test_flags_are_everybody_and_denies_come_first() -> None:
    rows = {
        RowKey(5, OUT): Row(any_allow=True),
        RowKey(5, IN): Row(any_allow=True),
        RowKey(5, OUT, 17): Row(any_deny=True, any_l7=True),
    }
    assert entries(rows, {}) == [
        ("deny", "egress", 0, [], "UDP", 8),
        ("allow", "ingress", 0, [], "ANY", 0),
        ("allow", "egress", 0, [], "ANY", 0),
        ("l7", "egress", 0, [], "UDP", 8),
    ]


def test_a_row_that_allows_nobody_has_no_entry() -> None:
    assert entries({RowKey(5, IN): Row()}, {(300, 0): 1}) == []


def test_the_whole_tables_have_rows_that_allow_nobody_too() -> None:
    rows = {RowKey(5, IN): Row(), RowKey(5, IN, 6, 80, 16): Row(cells=(Cell(3, 0, 1 << 63, 0),))}
    found = whole_tables(Tables(rows, {(300, 3): 1 << 63}))
    nobody, web = found["rows"]
    assert (nobody["policy"], nobody["direction"], nobody["protocol"]) == (5, "ingress", 0)
    assert nobody["any"] == {"allow": False, "deny": False, "l7": False}
    assert nobody["cells"] == []
    assert (web["protocol"], web["port"], web["port-bits"]) == (6, 80, 16)
    assert web["cells"] == [{"word": 3, "allow": 0, "deny": 1 << 63, "l7": 0}]
    assert found["bits"] == [{"identity": 300, "word": 3, "bits": 1 << 63}]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (RowKey(1, IN), "ANY"),
        (RowKey(1, IN, 6), "TCP"),
        (RowKey(1, IN, 6, 0, 1), "0-32767/TCP"),
        (RowKey(1, IN, 6, 64, 10), "64-127/TCP"),
        (RowKey(1, IN, 6, 80, 16), "80/TCP"),
        (RowKey(1, IN, 58, 128, 16), "128/ICMPv6"),
    ],
)
def test_ports(key: RowKey, text: str) -> None:
    assert ports_text(key) == text
