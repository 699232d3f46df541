# SPDX-License-Identifier: Apache-2.0
"""Child processes and progress lines.

Concurrency: the functions are free of shared state, so that callers may use them from a thread
pool; `Progress` prints whole lines only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from e2e.cluster.errors import ClusterError, CommandFailed, HostNotReady

Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def step(self, text: str) -> None:
        print(f"[{self.elapsed:6.1f} s] {text}", flush=True)

    def warn(self, text: str) -> None:
        print(f"[{self.elapsed:6.1f} s] warning: {text}", file=sys.stderr, flush=True)


def require_root() -> None:
    """Raise `HostNotReady` unless this process is root."""
    if os.geteuid() != 0:
        raise HostNotReady("the local cluster makes namespaces and mounts: run it as root")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    timeout: float = 120,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> str:
    """Run a command and return what it wrote to stdout.

    Raises `CommandFailed` on a non-zero exit (when `check`) or after `timeout` seconds, with
    stdout and stderr in the message.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as missing:
        raise HostNotReady(f"{words[0]} is not installed: run `make install`") from missing
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(words, -1, f"no result within {timeout:g} s") from late
    if check and done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.stdout + done.stderr)
    return done.stdout


def spawn(argv: Sequence[str | Path], log: Path, *, pass_fds: Sequence[int] = ()) -> int:
    """Start a process that outlives this one, its output appended to `log`; return its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=pass_fds,
            cwd="/",
        )
    return process.pid


def wait_for(what: str, ready: Callable[[], bool], timeout: float, every: float = 0.1) -> None:
    """Call `ready` each `every` seconds until it is true; `ClusterError` after `timeout`."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not so after {timeout:g} s; logs: .cluster/*/logs")
        time.sleep(every)


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` on every item in threads; results in order, the first error raised."""
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=len(items)) as pool:
        return list(pool.map(work, items))
