# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command that starts them, remembered by pid and start time.

A pid alone may belong to somebody else later; with the start time (clock ticks since boot, from
/proc/PID/stat) it names one process, so that `stop` never ends a stranger's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from e2e.cluster.errors import ClusterError


def start_time(pid: int) -> int | None:
    """Start of a live process in ticks since boot; None for a zombie or one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def remember(file: Path, pid: int) -> None:
    """Write `pid` and its start time to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{pid} {start_time(pid) or 0}\n")


def recall(file: Path) -> int | None:
    """The pid in `file` when that very process is still alive."""
    try:
        pid, started = (int(word) for word in file.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if start_time(pid) == started else None


def only_child(pid: int) -> int | None:
    """The host pid of the one child of `pid` (of unshare --fork: pid 1 of the namespace)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def stop(file: Path, timeout: float = 15) -> None:
    """SIGKILL the process remembered in `file`, wait for its end, remove the file."""
    pid = recall(file)
    if pid is not None:
        child = only_child(pid)
        for victim in (child, pid):
            if victim is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + timeout
        while any(p is not None and _alive(p) for p in (child, pid)):
            if time.monotonic() > end:
                raise ClusterError(f"process {pid} ({file.name}) is still there after a SIGKILL")
            time.sleep(0.02)
    file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return start_time(pid) is not None
