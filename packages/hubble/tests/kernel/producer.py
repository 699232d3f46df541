# SPDX-License-Identifier: Apache-2.0
"""A real kernel writing into a real ring: maps, and a program assembled by hand, run by test runs.

Each run of the program reserves a record, fills it with its number (`tx_packets`), the boot clock
and `type` TRACE, and submits it without a wake-up; a failed reserve raises the per-CPU counter of
lost events of that type.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from cilium_core.layouts.events import Event, EventType
from cilium_hubble.kernel.bpf import _SYS_BPF

libc = ctypes.CDLL(None, use_errno=True)
ARRAY, PERCPU_ARRAY, RINGBUF, SOCKET_FILTER = 2, 6, 27, 1
NO_WAKEUP = 1
LOOKUP_ELEM, KTIME_BOOT, RESERVE, SUBMIT, DISCARD = 1, 125, 131, 132, 133
R0, R1, R2, R3, R6, R7, R10 = 0, 1, 2, 3, 6, 7, 10
OFFSETS = {field.name: field.offset for field in Event.layout()}


def bpf(command: int, attr: bytes) -> int:
    """One bpf(2) call; OSError when it fails."""
    buffer = ctypes.create_string_buffer(attr, 144)
    result = libc.syscall(_SYS_BPF, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf {command}")
    return result


def make_map(kind: int, key: int, value: int, entries: int, pin: Path | None = None) -> int:
    """Create a map, pin it if told where; its descriptor."""
    fd = bpf(0, struct.pack("=5I", kind, key, value, entries, 0))
    if pin is not None:
        path = ctypes.create_string_buffer(os.fsencode(pin))
        bpf(6, struct.pack("=QII", ctypes.addressof(path), fd, 0))
    return fd


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """One instruction's 8 bytes."""
    return struct.pack("=BBhi", code, src << 4 | dst, offset, imm)


def load_map(register: int, fd: int) -> bytes:
    """register = map."""
    return instruction(0x18, register, 1, imm=fd) + instruction(0)


def mov(dst: int, src: int) -> bytes:
    return instruction(0xBF, dst, src)


def mov_imm(dst: int, imm: int) -> bytes:
    return instruction(0xB7, dst, imm=imm)


def call(helper: int) -> bytes:
    return instruction(0x85, imm=helper)


def lookup(fd: int, key: int) -> bytes:
    """r0 = &map[key]; the key on the stack."""
    return (
        instruction(0x62, R10, offset=-4, imm=key)
        + load_map(R1, fd)
        + mov(R2, R10)
        + instruction(0x07, R2, imm=-4)
        + call(LOOKUP_ELEM)
    )


class Producer:
    """The ring, its lost counter and the program, pinned in a folder of a bpffs."""

    def __init__(self, folder: Path, size: int, record_size: int = Event.SIZE) -> None:
        """Make maps and load the program; `size` is the ring's, a power of two of pages."""
        self.ring_path = folder / "cilium_events_v1"
        self.lost_path = folder / "cilium_event_lost_v1"
        self.ring = make_map(RINGBUF, 0, 0, size, self.ring_path)
        self.lost = make_map(PERCPU_ARRAY, 4, 8, 16, self.lost_path)
        self._counter = make_map(ARRAY, 4, 8, 1)
        self.program = self._load(record_size)

    def _load(self, record_size: int) -> int:
        fetch = lookup(self._counter, 0) + instruction(0x55, R0, offset=2)
        fetch += mov_imm(R0, 0) + instruction(0x95)
        fetch += mov_imm(R6, 1) + instruction(0xDB, R0, R6, imm=0x01)  # r6 = old value, + 1
        reserve = load_map(R1, self.ring) + mov_imm(R2, record_size) + mov_imm(R3, 0)
        reserve += call(RESERVE) + mov(R7, R0)
        fill = b"".join(
            instruction(0x7A, R7, offset=offset, imm=0) for offset in range(0, record_size, 8)
        )
        fill += instruction(0x7B, R7, R6, offset=min(OFFSETS["tx_packets"], record_size - 8))
        fill += call(KTIME_BOOT) + instruction(0x7B, R7, R0, offset=OFFSETS["time"])
        fill += instruction(0x72, R7, offset=OFFSETS["type"], imm=EventType.TRACE)
        fill += mov(R1, R7) + mov_imm(R2, NO_WAKEUP) + call(SUBMIT)
        fill += mov_imm(R0, 0) + instruction(0x95)
        failed = lookup(self.lost, EventType.TRACE) + instruction(0x15, R0, offset=2)
        failed += mov_imm(R6, 1) + instruction(0xDB, R0, R6, imm=0)
        failed += mov_imm(R0, 0) + instruction(0x95)
        code = fetch + reserve + instruction(0x15, R0, offset=len(fill) // 8) + fill + failed
        text = ctypes.create_string_buffer(code, len(code))
        licence = ctypes.create_string_buffer(b"GPL")
        log = ctypes.create_string_buffer(1 << 16)
        attr = struct.pack(
            "=IIQQIIQI",
            SOCKET_FILTER,
            len(code) // 8,
            ctypes.addressof(text),
            ctypes.addressof(licence),
            1,
            len(log),
            ctypes.addressof(log),
            0,
        )
        try:
            return bpf(5, attr)
        except OSError as error:
            raise AssertionError(log.value.decode()) from error

    def run(self, times: int) -> None:
        """Produce events, on the CPU that this thread is on."""
        frame = ctypes.create_string_buffer(64)
        attr = struct.pack(
            "=IIIIQQII", self.program, 0, 64, 0, ctypes.addressof(frame), 0, times, 0
        )
        bpf(10, attr)

    def close(self) -> None:
        """Close all and remove the pins."""
        for fd in (self.program, self.ring, self.lost, self._counter):
            os.close(fd)
        self.ring_path.unlink()
        self.lost_path.unlink()
