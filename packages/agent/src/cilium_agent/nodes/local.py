# SPDX-License-Identifier: Apache-2.0
"""Facts of this machine: its own addresses and where its cgroup2 root is mounted."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute

from cilium_agent.errors import AgentError
from cilium_core.addresses import Address

MOUNTS = Path("/proc/self/mountinfo")


def own_addresses(route: IPRoute) -> set[Address]:
    """Return every address of the node but loopback's and link-local ones. Netlink work."""
    found: set[Address] = set()
    for message in route.get_addr():
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if text is None:
            continue
        address = ip_address(text)
        if not (address.is_loopback or address.is_link_local):
            found.add(address)
    return found


def cgroup2_root(below: Path, mounts: str | None = None) -> Path:
    """Return the cgroup2 mount at or below a folder, the topmost one.

    On hosts with the mixed layout it is a folder beside the v1 hierarchies. AgentError when there
    is none: socket load balancing needs cgroup2.
    """
    text = MOUNTS.read_text() if mounts is None else mounts
    found: list[Path] = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        if tail.split(" ", 1)[0] == "cgroup2":
            mount = Path(head.split(" ")[4])
            if mount == below or below in mount.parents:
                found.append(mount)
    if not found:
        raise AgentError(f"no cgroup2 is mounted at or below {below}: mount one on the node")
    return min(found, key=lambda path: len(path.parts))
