# SPDX-License-Identifier: Apache-2.0
"""Puts programs on hooks by links pinned under `links/`, so that they outlive the agent.

A pin is named `<program>-<ifindex>` or `<program>`, so the folder alone says what hangs where and
a new generation is put in force link by link, each replaced atomically. Calls are short system
calls in the caller's network namespace (devices are named by ifindex there); one caller at a time.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from cilium_agent.datapath import syscall
from cilium_agent.datapath.errors import AttachFailed, KernelError
from cilium_agent.datapath.syscall import AttachType

SOCKET_HOOKS = {
    "sock4_connect": AttachType.CGROUP_INET4_CONNECT,
    "sock6_connect": AttachType.CGROUP_INET6_CONNECT,
    "sock4_sendmsg": AttachType.CGROUP_UDP4_SENDMSG,
    "sock6_sendmsg": AttachType.CGROUP_UDP6_SENDMSG,
    "sock4_recvmsg": AttachType.CGROUP_UDP4_RECVMSG,
    "sock6_recvmsg": AttachType.CGROUP_UDP6_RECVMSG,
    "sock4_getpeername": AttachType.CGROUP_INET4_GETPEERNAME,
    "sock6_getpeername": AttachType.CGROUP_INET6_GETPEERNAME,
}
DEVICE_HOOKS = {
    "from_container": AttachType.TCX_INGRESS,
    "from_overlay": AttachType.TCX_INGRESS,
    "from_host": AttachType.TCX_EGRESS,
}


LISTENER_HOOK = "pick_listener"


class ProgramSource(Protocol):
    """What hands out program descriptors; `programs.Programs` is one."""

    def open(self, name: str) -> int:
        """Return a new descriptor of the named program."""


class Attachments:
    """Attaches and detaches one generation's programs."""

    def __init__(self, programs: ProgramSource, bpffs: Path) -> None:
        """Attach `programs`, keeping link pins under `bpffs/links`."""
        self._programs = programs
        self._links = bpffs / "links"

    def attach_container(self, ifindex: int) -> None:
        """Put `from_container` on the ingress of a pod's host-side device."""
        self._attach_device("from_container", ifindex)

    def attach_host(self, ifindex: int) -> None:
        """Put `from_host` on the egress of cilium_host."""
        self._attach_device("from_host", ifindex)

    def attach_overlay(self, ifindex: int) -> None:
        """Put `from_overlay` on the ingress of cilium_vxlan."""
        self._attach_device("from_overlay", ifindex)

    def attach_cgroup(self, path: Path) -> None:
        """Put the socket programs on a cgroup2 folder: the node's root, not the agent pod's."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise AttachFailed(f"cgroup {path}: {error.strerror}; is it a cgroup2 path?") from error
        try:
            for name, hook in SOCKET_HOOKS.items():
                self._put(name, self._links / name, fd, path.stat().st_ino, hook, str(path))
        finally:
            os.close(fd)

    def attach_netns(self) -> None:
        """Have `pick_listener` choose the sockets of this network namespace: the node's."""
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            pin = self._links / LISTENER_HOOK
            inode = os.fstat(fd).st_ino
            self._put(LISTENER_HOOK, pin, fd, inode, AttachType.SK_LOOKUP, "the node's namespace")
        finally:
            os.close(fd)

    def detach_container(self, ifindex: int) -> None:
        """Take `from_container` off a device; a device that is gone only loses its pin."""
        detach(self._links / f"from_container-{ifindex}")

    def detach_host(self, ifindex: int) -> None:
        """Take `from_host` off."""
        detach(self._links / f"from_host-{ifindex}")

    def detach_overlay(self, ifindex: int) -> None:
        """Take `from_overlay` off."""
        detach(self._links / f"from_overlay-{ifindex}")

    def detach_cgroup(self) -> None:
        """Take the socket programs off."""
        for name in SOCKET_HOOKS:
            detach(self._links / name)

    def detach_netns(self) -> None:
        """Take `pick_listener` off."""
        detach(self._links / LISTENER_HOOK)

    def refresh(self) -> int:
        """Put this generation on every pinned link; drop pins of dead devices. Returns how many."""
        done = 0
        for pin in pinned_links(self._links):
            link = syscall.obj_get(pin)
            if link is None:
                continue
            try:
                if syscall.link_info(link).target == 0:
                    pin.unlink()
                else:
                    self._replace(link, pin.name.split("-")[0])
                    done += 1
            finally:
                os.close(link)
        return done

    def _attach_device(self, name: str, ifindex: int) -> None:
        pin = self._links / f"{name}-{ifindex}"
        self._put(name, pin, ifindex, ifindex, DEVICE_HOOKS[name], f"ifindex {ifindex}")

    def _put(
        self, name: str, pin: Path, target: int, identity: int, hook: AttachType, where: str
    ) -> None:
        link = syscall.obj_get(pin)
        if link is not None:
            try:
                if syscall.link_info(link).target == identity:
                    self._replace(link, name)
                    return
                detach(pin)  # of a device or cgroup that is gone, or another one
            finally:
                os.close(link)
        self._create(name, pin, target, hook, where)

    def _create(self, name: str, pin: Path, target: int, hook: AttachType, where: str) -> None:
        program = self._programs.open(name)
        try:
            link = syscall.link_create(program, target, hook)
        except KernelError as error:
            hint = ""
            if error.errno == errno.EINVAL:
                hint = "; devices need a kernel with tcx (6.6 or newer), cgroups a cgroup2 path"
            raise AttachFailed(f"{name} on {where} ({hook.name}): {error}{hint}") from error
        finally:
            os.close(program)
        try:
            pin.parent.mkdir(parents=True, exist_ok=True)
            syscall.obj_pin(link, pin)
        finally:
            os.close(link)

    def _replace(self, link: int, name: str) -> None:
        program = self._programs.open(name)
        try:
            syscall.link_update(link, program)
        finally:
            os.close(program)


def pinned_links(links: Path) -> list[Path]:
    """Return the pins of all links, none when the folder is absent."""
    return sorted(links.iterdir()) if links.is_dir() else []


def detach(pin: Path) -> None:
    """Detach a pinned link and remove its pin; absent is not an error."""
    link = syscall.obj_get(pin)
    if link is None:
        return
    try:
        syscall.link_detach(link)
    except KernelError as error:
        if error.errno != errno.ENOLINK:  # its device is gone: nothing left to detach
            raise
    finally:
        os.close(link)
        pin.unlink(missing_ok=True)


def detach_all(bpffs: Path) -> None:
    """Detach every link of a bpffs root."""
    for pin in pinned_links(bpffs / "links"):
        detach(pin)
