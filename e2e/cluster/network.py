# SPDX-License-Identifier: Apache-2.0
"""The underlay: a bridge in a namespace of its own, one veth per host, both families.

Nothing of it is in the root namespace. Default routes go to the switch, which forwards nothing;
no host has a route to pod ranges.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2e.cluster import spec
from e2e.cluster.shell import run


def namespaces() -> list[str]:
    """The cluster's namespaces that exist now."""
    folder = Path("/run/netns")
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("cpy-"))


def add_switch() -> None:
    """The switch namespace with its bridge, unless it is there."""
    switch = spec.SWITCH
    if Path(switch.netns_path).exists():
        return
    _ip("netns", "add", switch.netns)
    # Not `ip -n`: that would be fine here, but `ip netns exec` remounts /sys, so neither is used.
    _batch(
        switch,
        "link set lo up",
        "link add br0 type bridge stp_state 0 mcast_snooping 0",
        f"addr add {switch.ipv4}/24 dev br0",
        f"addr add {switch.ipv6}/64 dev br0 nodad",
        "link set br0 up",
    )


def add_host(host: spec.Host) -> None:
    """A namespace with `eth0` on the switch, unless it is there."""
    if Path(host.netns_path).exists():
        return
    _ip("netns", "add", host.netns)
    port = f"p-{host.number}"
    _batch(
        spec.SWITCH,
        f"link add {port} type veth peer name eth0 netns {host.netns}",
        f"link set {port} master br0 up",
    )
    _batch(
        host,
        "link set lo up",
        f"addr add {host.ipv4}/24 dev eth0",
        f"addr add {host.ipv6}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {spec.SWITCH.ipv4}",
        f"-6 route add default via {spec.SWITCH.ipv6}",
    )


def remove_host(host: spec.Host) -> None:
    """Unplug a host and remove its namespace. The port goes first: the kernel takes its time to
    end a namespace, and the port's name must be free at once."""
    run(inside(spec.SWITCH, "ip", "link", "del", f"p-{host.number}"), check=False)
    remove(host.netns)


def remove(namespace: str) -> None:
    """Remove a namespace; its links go with it."""
    if Path(f"/run/netns/{namespace}").exists():
        _ip("netns", "del", namespace)


def inside(host: spec.Host, *argv: str) -> list[str]:
    """The command line that runs `argv` in the host's network namespace."""
    return ["nsenter", f"--net={host.netns_path}", "--", *argv]


def netns_folder_is_mounted() -> bool:
    """Whether /run/netns is a mount (`ip netns add` makes it one the first time)."""
    return subprocess.run(["mountpoint", "-q", "/run/netns"], check=False).returncode == 0


def _ip(*words: str) -> None:
    run(["ip", *words])


def _batch(host: spec.Host, *commands: str) -> None:
    for command in commands:
        run(inside(host, "ip", *command.split()))
