# SPDX-License-Identifier: Apache-2.0
"""The kernel's way through the tables: longest prefix, then deny, L7, allow, default."""

import pytest

from cilium_core.policy.decide import Decision, Verdict, covering, decide, lookup
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey, Tables

IN = Direction.INGRESS
TCP = Protocol.TCP
ANY_ROW = RowKey(1, IN)


def test_without_a_row_a_packet_is_dropped():
    assert decide(Tables(), 1, IN, TCP, 80, 256) == Decision(Verdict.DENY)


def test_the_longest_prefix_decides_alone():
    rows = {
        ANY_ROW: Row(any_allow=True),
        RowKey(1, IN, TCP): Row(),
        RowKey(1, IN, TCP, 64, 10): Row(any_deny=True),
        RowKey(1, IN, TCP, 80, 16): Row(any_l7=True),
    }
    tables = Tables(rows)
    verdicts = {p: decide(tables, 1, IN, TCP, p, 1).verdict for p in (63, 64, 79, 80, 127, 128)}
    assert verdicts == {
        63: "deny",
        64: "deny-by-rule",
        79: "deny-by-rule",
        80: "l7",
        127: "deny-by-rule",
        128: "deny",
    }
    assert decide(tables, 1, IN, Protocol.UDP, 80, 1).verdict == "allow"
    assert decide(tables, 1, Direction.EGRESS, TCP, 80, 1).verdict == "deny"


@pytest.mark.parametrize(
    ("bits", "verdict", "matched"),
    [
        ({}, "deny", ()),
        ({0: 1}, "allow", ((0, 1),)),
        ({0: 4}, "deny", ()),
        ({0: 3, 2: 1}, "l7", ((2, 1),)),
        ({0: 1, 1: 1, 2: 1}, "deny-by-rule", ((1, 1),)),
    ],
)
def test_deny_then_l7_then_allow(bits, verdict, matched):
    row = Row(cells=(Cell(0, 3, 0, 0), Cell(1, 0, 1, 0), Cell(2, 0, 0, 1)))
    tables = Tables({ANY_ROW: row}, {(256, word): mask for word, mask in bits.items()})
    assert decide(tables, 1, IN, TCP, 80, 256) == (verdict, ANY_ROW, row, matched)


def test_prefixes_that_cover_a_port():
    found = list(covering(RowKey(1, IN, TCP, 80, 16)))
    assert len(found) == 18
    assert found[0] == RowKey(1, IN, TCP, 80, 16)
    assert found[1] == RowKey(1, IN, TCP, 80, 15)
    assert found[-2:] == [RowKey(1, IN, TCP), ANY_ROW]
    assert lookup({ANY_ROW: Row()}, RowKey(1, IN, TCP, 80, 16)) == ANY_ROW
    assert lookup({}, ANY_ROW) is None
