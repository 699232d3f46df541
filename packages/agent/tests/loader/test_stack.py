# SPDX-License-Identifier: Apache-2.0
"""The stack figure against hand-made instructions."""

from __future__ import annotations

import struct

from cilium_agent.loader.stack import stack_bytes


def insn(opcode: int, target: int, source: int, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | target, offset, immediate)


def test_stores_loads_and_addresses_count() -> None:
    store = insn(0x7B, 10, 1, -16)
    load = insn(0x79, 1, 10, -24)
    address = insn(0xBF, 2, 10) + insn(0x07, 2, 0, 0, -40)
    assert stack_bytes(b"") == 0
    assert stack_bytes(store) == 16
    assert stack_bytes(store + load) == 24
    assert stack_bytes(store + load + address) == 40


def test_other_pointers_do_not() -> None:
    through_packet = insn(0x7B, 3, 1, -200)
    moved_away = insn(0xBF, 2, 10) + insn(0xBF, 2, 3) + insn(0x07, 2, 0, 0, -300)
    assert stack_bytes(through_packet + moved_away) == 0
