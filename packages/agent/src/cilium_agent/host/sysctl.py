# SPDX-License-Identifier: Apache-2.0
"""Kernel settings under /proc/sys/net, in the calling thread's network namespace. Blocking.

The reverse path checks that are turned off are written down, and `restore` turns them on again at
uninstall. Forwarding stays on: other software of the node may have come to rely on it and has no
way to say so; `accept_ra` stays with it, since a forwarding device ignores advertisements at 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cilium_agent.host.errors import HostError

ROOT = Path("/proc/sys/net")
RECORD = Path("state") / "sysctl.json"  # below the run folder, which a reboot empties as well
_RESTORED = "/rp_filter"


def read(key: str) -> str | None:
    """Return the value of `ipv4/conf/all/…`, None when the kernel has no such key."""
    try:
        return (ROOT / key).read_text().strip()
    except FileNotFoundError:
        return None


def write(key: str, value: str) -> None:
    """Set a key unless it holds the value already. HostError names the key."""
    if read(key) == value:
        return
    try:
        (ROOT / key).write_text(value)
    except OSError as error:
        raise HostError(
            f"net/{key} cannot be set to {value}: {error.strerror}; "
            "the agent's container must be privileged"
        ) from error


def write_all(values: Mapping[str, str]) -> None:
    """Set several keys in their order."""
    for key, value in values.items():
        write(key, value)


def write_recorded(values: Mapping[str, str], record: Path) -> None:
    """Set several keys; what a reverse path check was before goes into the file first.

    HostError names the file or the key. A value that somebody sets again later replaces the note.
    """
    before = {key: read(key) for key, value in values.items() if key.endswith(_RESTORED)}
    changed = {k: v for k, v in before.items() if v is not None and v != values[k]}
    if changed:
        temporary = record.with_suffix(".new")
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(recorded(record) | changed))
            temporary.replace(record)
        except OSError as error:
            raise HostError(f"{record} cannot be written: {error.strerror}") from error
    write_all(values)


def recorded(record: Path) -> dict[str, str]:
    """Return what `write_recorded` wrote; empty when the file is not there or is another's."""
    try:
        found = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def restore(record: Path) -> None:
    """Put back what was written down, where our own value still stands; devices may be gone."""
    for key, value in recorded(record).items():
        if key.endswith(_RESTORED) and read(key) == "0":
            write(key, value)


def forwarding(ipv4: bool, ipv6: bool, underlay: str) -> dict[str, str]:
    """Return what a forwarding node needs.

    Forwarding makes the kernel ignore router advertisements where `accept_ra` is 1, so an
    underlay device that lives by them is set to 2 first.
    """
    values: dict[str, str] = {}
    if ipv4:
        values |= {
            "ipv4/ip_forward": "1",
            "ipv4/conf/all/forwarding": "1",
            "ipv4/conf/all/rp_filter": "0",
            "ipv4/conf/default/rp_filter": "0",
            f"ipv4/conf/{underlay}/rp_filter": "0",
        }
    if ipv6:
        if read(f"ipv6/conf/{underlay}/accept_ra") == "1":
            values[f"ipv6/conf/{underlay}/accept_ra"] = "2"
        values["ipv6/conf/all/forwarding"] = "1"
    return values


def own_device(name: str, ipv4: bool, ipv6: bool) -> dict[str, str]:
    """Return what each device of ours needs: no reverse path check, no advertisements."""
    values: dict[str, str] = {}
    if ipv4:
        values[f"ipv4/conf/{name}/rp_filter"] = "0"
        values[f"ipv4/conf/{name}/forwarding"] = "1"
    if ipv6:
        values[f"ipv6/conf/{name}/disable_ipv6"] = "0"
        values[f"ipv6/conf/{name}/forwarding"] = "1"
        values[f"ipv6/conf/{name}/accept_ra"] = "0"
    return values
