# SPDX-License-Identifier: Apache-2.0
"""DEL calls that came while no agent was there, one file each.

Plugin and agent take the same lock file: the agent from before its socket is bound until the queue
is empty, the plugin while it tries the socket once more and else writes. So a call is either
queued and drained or answered, never queued behind the drain's back. Blocking; use a thread.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import structlog

from cilium_agent.cni.errors import CniError
from cilium_agent.cni.request import decode_frame, identify
from cilium_agent.host.errors import HostError

log = structlog.get_logger(__name__)
LOCK_NAME = "lock"
SUFFIX = ".delete"
LOCK_SECONDS = 10.0
POLL_SECONDS = 0.05


class DeleteQueue:
    """The queue's folder, locked between `lock` and `unlock`."""

    def __init__(self, directory: Path) -> None:
        """Use this folder, which `lock` makes when it is absent."""
        self._directory = directory
        self._fd: int | None = None

    def lock(self) -> None:
        """Keep plugins from queueing. HostError when another process holds the lock too long."""
        self._directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise HostError(
                        f"{self._directory / LOCK_NAME} is held by another process; "
                        "is a second agent running on this node?"
                    ) from error
                time.sleep(POLL_SECONDS)
            else:
                self._fd = fd
                return

    def unlock(self) -> None:
        """Let plugins go on."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def entries(self) -> list[tuple[Path, str, str]]:
        """Return file, container id and interface of each entry; unreadable ones are removed."""
        found = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                container_id, interface = identify(decode_frame(path.read_bytes()).env)
            except CniError as error:
                log.error("queued DEL unreadable, dropped", file=str(path), error=str(error))
                path.unlink(missing_ok=True)
                continue
            found.append((path, container_id, interface))
        return found
