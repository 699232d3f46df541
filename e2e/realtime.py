# SPDX-License-Identifier: Apache-2.0
"""Puts the measuring processes first in line for the CPU, so that a stall is the network's.

On two cores an agent that starts keeps everything else waiting for some hundred milliseconds. A
test that bounds how long the data path stalls must not measure that: the probes of the load and
of the canary get a real-time priority. Blocking and short; needs root.
"""

from __future__ import annotations

import os
from pathlib import Path

PRIORITY = 10
_MARK = b"e2e.probe"


def prefer_probes() -> set[int]:
    """Give every probe in a pod real-time priority; their pids."""
    own = os.stat("/proc/self/ns/net").st_ino
    preferred = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if _MARK in words and (entry / "ns" / "net").stat().st_ino != own:
                _prefer(int(entry.name))
                preferred.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
    return preferred


def _prefer(pid: int) -> None:
    wanted = os.sched_param(PRIORITY)
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, wanted)
    except PermissionError:
        # A kernel with real-time group scheduling gives a pod's cpu group no real-time share:
        # the process leaves that group (of the cpu controller alone) for the root's.
        (_cpu_root() / "cgroup.procs").write_text(str(pid))
        os.sched_setscheduler(pid, os.SCHED_RR, wanted)


def _cpu_root() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(target)
    raise PermissionError("real-time priority refused, and there is no cpu hierarchy to leave")
