# SPDX-License-Identifier: Apache-2.0
"""A cgroup leaf per node in every hierarchy of this machine: v1, hybrid or pure v2.

The leaf in cgroup2 is where socket programs attach, so that nodes on one kernel do not see each
other's hooks.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

PARENT = "cpy"


def hierarchies(mounts: str) -> list[tuple[str, str, str]]:
    """(mount point, type, controllers) of each cgroup mount in the text of /proc/mounts.

    Controllers are what a mount needs as its `-o` words ("cpu,cpuacct", "none,name=systemd"),
    empty for cgroup2.
    """
    plain = {"rw", "ro", "relatime", "nosuid", "nodev", "noexec", "nsdelegate", "xattr"}
    found: dict[str, tuple[str, str, str]] = {}  # by target: a later mount hides an earlier one
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found[target] = (target, kind, "")
        elif kind == "cgroup":
            words = [
                word
                for word in options.split(",")
                if word not in plain and not word.startswith(("release_agent=", "clone_children"))
            ]
            if any(word.startswith("name=") for word in words):
                words.insert(0, "none")
            found[target] = (target, kind, ",".join(words))
    return list(found.values())


def current() -> list[tuple[str, str, str]]:
    """`hierarchies` of this machine."""
    return hierarchies(Path("/proc/mounts").read_text())


def leaves(name: str) -> list[Path]:
    """The leaf folder of `name` in each hierarchy."""
    return [Path(target) / PARENT / name for target, _, _ in current()]


def make(name: str) -> list[Path]:
    """Make the leaves of `name`; safe to call again."""
    made = leaves(name)
    for leaf in made:
        for folder in (leaf.parent, leaf):
            folder.mkdir(exist_ok=True)
            _inherit(folder)
    return made


def remove(name: str) -> None:
    """Remove the leaves of `name` and what pods left below, then the parents when empty."""
    for leaf in leaves(name):
        _remove_tree(leaf)
        with contextlib.suppress(OSError):
            leaf.parent.rmdir()


def _inherit(folder: Path) -> None:
    # cpuset of cgroup v1 starts empty, and no process can join it so.
    for file in ("cpuset.cpus", "cpuset.mems"):
        own, above = folder / file, folder.parent / file
        if own.exists() and above.exists() and not own.read_text().strip():
            own.write_text(above.read_text())
    # Pure cgroup v2: hand the controllers down. In hybrid mode they all belong to v1.
    if any(kind == "cgroup" for _, kind, _ in current()):
        return
    control = folder.parent / "cgroup.subtree_control"
    offered = folder.parent / "cgroup.controllers"
    if control.exists() and offered.exists():
        for controller in offered.read_text().split():
            with contextlib.suppress(OSError):
                control.write_text(f"+{controller}")


def _remove_tree(folder: Path) -> None:
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.is_dir():
            _remove_tree(child)
    end = time.monotonic() + 5
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
