# SPDX-License-Identifier: Apache-2.0
"""How much of its 512 bytes of stack a program reaches, read off its instructions. Pure."""

from __future__ import annotations

import struct

_FRAME_POINTER = 10
_LOAD, _STORE_IMMEDIATE, _STORE = 0x01, 0x02, 0x03
_MEMORY = (_LOAD, _STORE_IMMEDIATE, _STORE)
_ADD_IMMEDIATE = 0x07
_MOVE = 0xBF


def stack_bytes(code: bytes) -> int:
    """Return the lowest frame-pointer offset that the instructions use, as a positive number."""
    lowest = 0
    frames: set[int] = set()  # registers that hold a copy of the frame pointer
    for opcode, registers, offset, immediate in struct.iter_unpack("<BBhi", code):
        target, source = registers & 0x0F, registers >> 4
        kind = opcode & 0x07
        if opcode == _MOVE:
            frames.discard(target)
            if source == _FRAME_POINTER:
                frames.add(target)
        elif opcode == _ADD_IMMEDIATE and target in frames:
            lowest = min(lowest, immediate)
            frames.discard(target)
        elif kind in _MEMORY and (source if kind == _LOAD else target) == _FRAME_POINTER:
            lowest = min(lowest, offset)
    return -lowest
