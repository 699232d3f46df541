# SPDX-License-Identifier: Apache-2.0
"""The few bpf(2) commands that a reader of pinned maps needs. Blocks for microseconds."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path
from typing import NamedTuple

from cilium_hubble.errors import KernelError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_SYS_BPF = _NUMBERS[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)
_ATTR_SIZE = 144
_LOOKUP, _OBJ_GET, _INFO = 1, 7, 15
_NAMES = {_LOOKUP: "MAP_LOOKUP_ELEM", _OBJ_GET: "OBJ_GET", _INFO: "OBJ_GET_INFO_BY_FD"}

PERCPU_ARRAY = 6
RINGBUF = 27


class MapInfo(NamedTuple):
    """What the kernel says of a map; sizes in bytes, a ring's `max_entries` too."""

    kind: int
    map_id: int
    key_size: int
    value_size: int
    max_entries: int


def _call(command: int, attr: bytes) -> int:
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    result: int = _libc.syscall(_SYS_BPF, command, buffer, _ATTR_SIZE)
    if result < 0:
        number = ctypes.get_errno()
        raise KernelError(_NAMES[command], number, os.strerror(number))
    return result


def open_pin(path: Path) -> int | None:
    """Return a descriptor of the object pinned at `path`; None when nothing is pinned there."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    try:
        return _call(_OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def map_info(fd: int) -> MapInfo:
    """Return the kernel's description of a map."""
    info = ctypes.create_string_buffer(80)
    _call(_INFO, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
    return MapInfo(*struct.unpack_from("=5I", info.raw))


def lookup(fd: int, key: bytes, value_size: int) -> bytes:
    """Return a key's value: for per-CPU kinds the slots of all possible CPUs, 8-byte aligned."""
    held, value = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value_size),
    )
    pointers = ctypes.addressof(held), ctypes.addressof(value)
    _call(_LOOKUP, struct.pack("=IIQQQ", fd, 0, *pointers, 0))
    return value.raw


def possible_cpus() -> int:
    """Return how many slots the kernel keeps of a per-CPU value."""
    words = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return max(int(word.rpartition("-")[2]) for word in words) + 1
