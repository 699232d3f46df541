# SPDX-License-Identifier: Apache-2.0
"""`python -m e2e.cluster.tcx PIN DEVICE`: attach a pinned tc program by tcx, straight by bpf(2).

For `doctor`: Debian 12's bpftool is older than tcx. The link ends with this process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

SYSCALL = {"x86_64": 321, "aarch64": 280}
BPF_OBJ_GET, BPF_LINK_CREATE = 7, 28
BPF_TCX_INGRESS = 46


def bpf(command: int, attributes: bytes) -> int:
    """One bpf(2) call; its file descriptor, or OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel takes any length when what it does not know is zero.
    buffer = ctypes.create_string_buffer(attributes.ljust(64, b"\0"), 64)
    result = int(libc.syscall(SYSCALL[platform.machine()], command, buffer, 64))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main(pin: str, device: str) -> None:
    """Attach and leave; OSError (EINVAL) where the kernel does not know tcx."""
    path = ctypes.create_string_buffer(pin.encode())
    program = bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    index = socket.if_nametoindex(device)
    bpf(BPF_LINK_CREATE, struct.pack("=IIII", program, index, BPF_TCX_INGRESS, 0))


if __name__ == "__main__":
    main(*sys.argv[1:3])
