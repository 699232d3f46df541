# SPDX-License-Identifier: Apache-2.0
"""A thin binding of bpf(2): one function per command, plain bytes in and out.

Nothing here knows a layout. Every call is one system call (a batch counts as one), does not
block, and releases the interpreter lock while the kernel works; safe from any thread. Errors
are `KernelError` unless a docstring says that an outcome is expected.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cilium_agent.datapath.errors import KernelError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_SYS_BPF = _NUMBERS[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)
_ATTR_SIZE = 144
_NAME_LENGTH = 15

ANY = 0  # update flag: create or replace


class Command(IntEnum):
    """The bpf(2) commands in use."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    OBJ_GET_INFO_BY_FD = 15
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    ENABLE_STATS = 32
    LINK_DETACH = 34


class AttachType(IntEnum):
    """`enum bpf_attach_type` numbers of the hooks in use."""

    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    SK_LOOKUP = 36
    TCX_INGRESS = 46
    TCX_EGRESS = 47


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel says of a map; sizes in bytes."""

    kind: int
    map_id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel says of a program. `instructions` counts those after translation.

    `verified` counts the instructions that its check walked, over all branches.
    """

    kind: int
    program_id: int
    instructions: int
    jited_bytes: int
    run_time_ns: int
    run_count: int
    verified: int


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the kernel says of a link.

    `target` is an ifindex (0: device gone), a cgroup id, or a namespace's inode (0: gone).
    """

    kind: int
    link_id: int
    program_id: int
    target: int


@dataclass(frozen=True, slots=True)
class TestRun:
    """Outcome of a test run: verdict, frame out, context out, mean ns of one repetition."""

    verdict: int
    data: bytes
    context: bytes
    duration_ns: int


def _call(command: Command, attr: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    result = _libc.syscall(_SYS_BPF, int(command), buffer, _ATTR_SIZE)
    if result < 0:
        number = ctypes.get_errno()
        error = KernelError(command.name, number, os.strerror(number))
        error.attr = buffer.raw
        raise error
    return result, buffer.raw


def _address(buffer: ctypes.Array[ctypes.c_char] | bytes | None) -> int:
    if buffer is None:
        return 0
    held = ctypes.c_char_p(buffer) if isinstance(buffer, bytes) else buffer
    return ctypes.cast(held, ctypes.c_void_p).value or 0


# --- maps ---------------------------------------------------------------------------------


def map_create(
    kind: int, key_size: int, value_size: int, max_entries: int, flags: int, name: str
) -> int:
    """Create a map and return its file descriptor. `name` is cut to 15 characters."""
    label = name.encode()[:_NAME_LENGTH]
    attr = struct.pack("=7I16s", kind, key_size, value_size, max_entries, flags, 0, 0, label)
    return _call(Command.MAP_CREATE, attr)[0]


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Return the value (all CPUs' slots for per-CPU kinds) or None when the key is absent."""
    value = ctypes.create_string_buffer(value_size)
    try:
        _call(
            Command.MAP_LOOKUP_ELEM, struct.pack("=IIQQQ", fd, 0, _address(key), _address(value), 0)
        )
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = ANY) -> None:
    """Write one element."""
    attr = struct.pack("=IIQQQ", fd, 0, _address(key), _address(value), flags)
    _call(Command.MAP_UPDATE_ELEM, attr)


def map_delete(fd: int, key: bytes) -> bool:
    """Delete one element; False when it was not there."""
    try:
        _call(Command.MAP_DELETE_ELEM, struct.pack("=IIQ", fd, 0, _address(key)))
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """Return the key after `key` (the first for None), or None at the end."""
    following = ctypes.create_string_buffer(key_size)
    attr = struct.pack("=IIQQ", fd, 0, _address(key), _address(following))
    try:
        _call(Command.MAP_GET_NEXT_KEY, attr)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return following.raw


def map_lookup_batch(
    fd: int, cursor: bytes | None, cursor_size: int, key_size: int, value_size: int, count: int
) -> tuple[bytes, bytes, int, bytes | None]:
    """Read up to `count` elements after `cursor` (None: from the start).

    Returns keys, values, number read and the next cursor (None: that was the end). A count too
    small for one hash bucket is KernelError with ENOSPC; a map kind without batches EOPNOTSUPP
    or EINVAL.
    """
    following = ctypes.create_string_buffer(cursor_size)
    keys = ctypes.create_string_buffer(key_size * count)
    values = ctypes.create_string_buffer(value_size * count)
    attr = struct.pack(
        "=QQQQIIQQ",
        _address(cursor),
        _address(following),
        _address(keys),
        _address(values),
        count,
        fd,
        0,
        0,
    )
    try:
        _, raw = _call(Command.MAP_LOOKUP_BATCH, attr)
        end = False
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raw, end = error.attr, True
    (done,) = struct.unpack_from("=I", raw, 32)
    return (
        keys.raw[: done * key_size],
        values.raw[: done * value_size],
        done,
        None if end else following.raw,
    )


def _batch(command: Command, fd: int, keys: bytes, values: bytes | None, count: int) -> None:
    attr = struct.pack("=QQQQIIQQ", 0, 0, _address(keys), _address(values), count, fd, 0, 0)
    try:
        _call(command, attr)
    except KernelError as error:
        if error.errno in (errno.E2BIG, errno.ENOSPC):  # raised by an element, not by the batch
            (error.done,) = struct.unpack_from("=I", error.attr, 32)
        raise


def map_update_batch(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Write `count` elements laid end to end, in order; a full map says how many were `done`."""
    _batch(Command.MAP_UPDATE_BATCH, fd, keys, values, count)


def map_delete_batch(fd: int, keys: bytes, count: int) -> None:
    """Delete `count` keys laid end to end; stops with ENOENT at the first absent one."""
    _batch(Command.MAP_DELETE_BATCH, fd, keys, None, count)


# --- pins and facts -----------------------------------------------------------------------


def obj_pin(fd: int, path: Path) -> None:
    """Pin a map, program or link at a bpffs path. EEXIST when something is there."""
    name = os.fsencode(path) + b"\0"
    _call(Command.OBJ_PIN, struct.pack("=QII", _address(name), fd, 0))


def obj_get(path: Path) -> int | None:
    """Open a pinned object; None when nothing is pinned there."""
    name = os.fsencode(path) + b"\0"
    try:
        return _call(Command.OBJ_GET, struct.pack("=QII", _address(name), 0, 0))[0]
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _info(fd: int, size: int) -> bytes:
    info = ctypes.create_string_buffer(size)
    _call(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, _address(info)))
    return info.raw


def map_info(fd: int) -> MapInfo:
    """Return the kernel's description of a map."""
    kind, map_id, key, value, entries, flags, name = struct.unpack_from("=6I16s", _info(fd, 80))
    return MapInfo(kind, map_id, key, value, entries, flags, name.rstrip(b"\0").decode())


def program_info(fd: int) -> ProgramInfo:
    """Return the kernel's description of a program."""
    raw = _info(fd, 232)
    kind, program_id = struct.unpack_from("=II", raw, 0)
    jited, xlated = struct.unpack_from("=II", raw, 16)
    run_time, run_count = struct.unpack_from("=QQ", raw, 192)
    (verified,) = struct.unpack_from("=I", raw, 216)
    return ProgramInfo(kind, program_id, xlated // 8, jited, run_time, run_count, verified)


def link_info(fd: int) -> LinkInfo:
    """Return the kernel's description of a tcx, cgroup or namespace link."""
    raw = _info(fd, 64)
    kind, link_id, program_id = struct.unpack_from("=III", raw, 0)
    code = "=Q" if kind == LINK_CGROUP else "=I"
    return LinkInfo(kind, link_id, program_id, struct.unpack_from(code, raw, 16)[0])


LINK_CGROUP = 3
LINK_TCX = 11


# --- links and test runs ------------------------------------------------------------------


def link_create(program_fd: int, target: int, hook: AttachType) -> int:
    """Attach a program by a link: `target` is an ifindex for tcx, else the fd of a cgroup's
    directory or of a network namespace.
    """
    attr = struct.pack("=IIII32x", program_fd, target, int(hook), 0)
    return _call(Command.LINK_CREATE, attr)[0]


def link_update(link_fd: int, program_fd: int) -> None:
    """Replace the link's program atomically."""
    _call(Command.LINK_UPDATE, struct.pack("=IIII", link_fd, program_fd, 0, 0))


def link_detach(link_fd: int) -> None:
    """Detach the link from its hook at once, whoever still holds it."""
    _call(Command.LINK_DETACH, struct.pack("=I", link_fd))


def program_test_run(
    program_fd: int, frame: bytes, context: bytes = b"", repeat: int = 1, room: int = 4096
) -> TestRun:
    """Run a program over one frame. `context` is a `struct __sk_buff`, `room` bounds the result."""
    out = ctypes.create_string_buffer(len(frame) + room)
    context_out = ctypes.create_string_buffer(max(len(context), 1))
    attr = struct.pack(
        "=IIIIQQIIIIQQ",
        program_fd,
        0,
        len(frame),
        len(out),
        _address(frame),
        _address(out),
        repeat,
        0,
        len(context),
        len(context),
        _address(context) if context else 0,
        _address(context_out) if context else 0,
    )
    _, raw = _call(Command.PROG_TEST_RUN, attr)
    verdict, _, size = struct.unpack_from("=III", raw, 4)
    (duration,) = struct.unpack_from("=I", raw, 36)
    return TestRun(verdict, out.raw[:size], context_out.raw[: len(context)], duration)


@contextmanager
def run_statistics() -> Iterator[None]:
    """Have the kernel count run time and runs of every program while the block lasts."""
    fd, _ = _call(Command.ENABLE_STATS, struct.pack("=I", 0))
    try:
        yield
    finally:
        os.close(fd)
