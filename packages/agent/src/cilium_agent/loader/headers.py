# SPDX-License-Identifier: Apache-2.0
"""Gives bcc the kernel headers it looks for, in a mount namespace of this process alone.

bcc insists on /lib/modules/<running release>/build. Only UAPI types are used, so any version's
headers do; where the folder is missing, a private tmpfs over /lib/modules links to those in
/usr/src. Nothing outside this process sees it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
MODULES = Path("/lib/modules")
SOURCES = Path("/usr/src")


class HeadersMissing(RuntimeError):
    """No kernel headers on this machine: install a linux-headers package (any version)."""


def provide_headers(release: str) -> None:
    """Make /lib/modules/<release>/build exist. HeadersMissing or OSError when it cannot."""
    if (MODULES / release / "build").exists():
        return
    build, source = find_headers(SOURCES)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare mounts")
    _check(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "make mounts private")
    MODULES.mkdir(parents=True, exist_ok=True)
    _check(libc.mount(b"tmpfs", bytes(MODULES), b"tmpfs", 0, b"size=64k"), "mount tmpfs")
    folder = MODULES / release
    folder.mkdir()
    (folder / "build").symlink_to(build)
    (folder / "source").symlink_to(source)


def find_headers(root: Path) -> tuple[Path, Path]:
    """Return (build, source) folders of installed headers; Debian splits them in two packages."""
    for common in sorted(root.glob("linux-headers-*-common"), reverse=True):
        version = common.name.removeprefix("linux-headers-").removesuffix("-common")
        flavours = [
            path
            for path in sorted(root.glob(f"linux-headers-{version}-*"))
            if path != common and (path / "include/generated/autoconf.h").exists()
        ]
        if flavours:
            return flavours[0], common
    whole = [
        path
        for path in sorted(root.glob("linux-headers-*"))
        if (path / "include/generated/autoconf.h").exists()
        and (path / "include/uapi/linux/bpf.h").exists()
    ]
    if not whole:
        raise HeadersMissing(f"no kernel headers under {root}: install a linux-headers package")
    return whole[0], whole[0]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
