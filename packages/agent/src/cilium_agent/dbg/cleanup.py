# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg cleanup`: takes everything of ours off a node, whether an agent ran or not.

Each part is tried even when another failed, since a node half clean is worse than a list of what
is left. Imports the datapath and netlink only when it runs. Needs no agent and none may run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

RUN_DIR = Path("/var/run/cilium")
HISTORY_DIR = Path("/var/lib/cilium/hubble")
BPF_ROOT = Path("/sys/fs/bpf/cilium")
CNI_CONF = Path("/host/etc/cni/net.d")
CNI_BIN = Path("/host/opt/cni/bin")


def running_agent(run_dir: Path = RUN_DIR) -> int | None:
    """Return the pid of the agent that owns the run folder, None when there is none."""
    try:
        pid = int((run_dir / "cilium.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"cilium-agent" in command and pid != os.getpid() else None


def cleanup(say: Callable[[str], None]) -> list[str]:
    """Remove CNI files, links, programs, maps, devices, the nft table and state.

    Returns what could not be removed, empty when the node is clean.
    """
    from cilium_agent.datapath import programs
    from cilium_agent.host import cni_files, network

    steps: list[tuple[str, Callable[[], object]]] = [
        ("CNI configuration", lambda: cni_files.remove_conf(CNI_CONF)),
        ("CNI plugin", lambda: cni_files.remove_plugin(CNI_BIN)),
        ("eBPF links, programs and maps", lambda: programs.cleanup(BPF_ROOT)),
        ("devices and masquerade", lambda: asyncio.run(network.cleanup(RUN_DIR))),
        ("state", lambda: _empty(RUN_DIR)),
        ("flow history", lambda: _empty(HISTORY_DIR)),
    ]
    failures = []
    for what, step in steps:
        try:
            step()
            say(f"removed: {what}")
        except Exception as error:
            failures.append(f"{what}: {error or repr(error)}")
    return failures


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
