# SPDX-License-Identifier: Apache-2.0
"""Builds, loads and replaces the eBPF programs, and says which generation is in force.

A generation is one folder `progs/<hash>` under the bpffs root, named by sources, settings and map
layouts: present means complete, since the loader fills it under another name and renames it. The
compiler lives and dies in a child process. One caller at a time (the agent's start and changes
of its settings); nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

import cilium_agent
import cilium_core
from cilium_agent.datapath import attach, syscall
from cilium_agent.datapath.errors import ProgramsUnavailable
from cilium_agent.loader.request import LoadRequest, constants_of, read_sources
from cilium_agent.model import DatapathSettings
from cilium_core.layouts.datapath import ALL_MAPS

log = structlog.get_logger(__name__)

DEFAULT_BPFFS = Path("/sys/fs/bpf/cilium")
INTERPRETER_VARIABLE = "CILIUM_LOADER_PYTHON"
DEFAULT_INTERPRETER = "/usr/bin/python3"  # Debian's, which has bcc
_LOAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Programs:
    """One loaded generation. `current` is False when a newer one failed to load."""

    directory: Path
    current: bool = True
    report: tuple[dict[str, Any], ...] = ()  # of a fresh load: one entry a program
    compile_seconds: float = 0.0  # of a fresh load
    loader_peak_kib: int = 0  # of a fresh load: the loader process's largest resident size

    @property
    def generation(self) -> str:
        """The hash of sources and settings that this generation was built from."""
        return self.directory.name

    def open(self, name: str) -> int:
        """Return a new descriptor of the program. ProgramsUnavailable when it is not pinned."""
        fd = syscall.obj_get(self.directory / name)
        if fd is None:
            raise ProgramsUnavailable(f"{self.directory / name} is not pinned; restart the agent")
        return fd


def generation_of(settings: DatapathSettings) -> str:
    """Return the name of the generation that these settings and the installed sources make."""
    digest = hashlib.sha256()
    for name, text in read_sources():
        digest.update(f"{name}\0{text}\0".encode())
    digest.update(json.dumps(constants_of(settings), sort_keys=True).encode())
    for spec in ALL_MAPS:
        digest.update(f"{spec.name} {spec.kind} {spec.max_entries} {spec.flags}\0".encode())
    return digest.hexdigest()[:16]


async def ensure_programs(
    settings: DatapathSettings, bpffs: Path = DEFAULT_BPFFS, interpreter: str | None = None
) -> Programs:
    """Have the programs for `settings` loaded and in force on every hook that is attached.

    Does not compile when this generation is pinned already. When building fails, an older
    generation goes on serving and is returned with `current` False; with none, raises
    ProgramsUnavailable that carries the loader's last lines.
    """
    root = bpffs / "progs"
    target = root / generation_of(settings)
    programs = Programs(target)
    if not target.is_dir():
        try:
            programs = await _load(settings, bpffs, target, interpreter)
        except ProgramsUnavailable as error:
            return _fall_back(root, error)
    attach.Attachments(programs, bpffs).refresh()
    _remove_others(root, target)
    return programs


async def _load(
    settings: DatapathSettings, bpffs: Path, target: Path, interpreter: str | None
) -> Programs:
    command = interpreter or os.environ.get(INTERPRETER_VARIABLE, DEFAULT_INTERPRETER)
    homes = {str(Path(module.__path__[0]).parent) for module in (cilium_agent, cilium_core)}
    request = LoadRequest(str(bpffs / "maps"), str(target), constants_of(settings))
    environment = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "PYTHONPATH": os.pathsep.join(sorted(homes)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Not asyncio's: uvloop's pipe raises RuntimeError when the child ends before it has read.
    out = await asyncio.to_thread(_run, command, request.to_json(), environment)
    loaded = json.loads(out)
    log.info("programs loaded", generation=target.name, seconds=loaded["seconds"])
    return Programs(
        target,
        report=tuple(loaded["programs"]),
        compile_seconds=loaded["compile_seconds"],
        loader_peak_kib=loaded["peak_kib"],
    )


def _run(command: str, request: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            [command, "-m", "cilium_agent.loader"],
            input=request,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramsUnavailable(f"loader did not finish in {_LOAD_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()[-30:]
        raise ProgramsUnavailable(
            f"loader {command} ended with {done.returncode}:\n" + "\n".join(lines)
        )
    return done.stdout


def _fall_back(root: Path, error: ProgramsUnavailable) -> Programs:
    older = sorted(generations(root), key=lambda path: path.stat().st_mtime)
    if not older:
        raise error
    log.error("programs not replaced, older ones go on", kept=older[-1].name, error=str(error))
    return Programs(older[-1], current=False)


def generations(root: Path) -> list[Path]:
    """Return the complete generations under `progs`."""
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith("new-")]


def _remove_others(root: Path, kept: Path) -> None:
    for path in root.iterdir():
        if path != kept:
            shutil.rmtree(path)


def cleanup(bpffs: Path = DEFAULT_BPFFS) -> None:
    """Detach every link and remove every pin under the root; what is not there is no error."""
    attach.detach_all(bpffs)
    if bpffs.is_dir():
        shutil.rmtree(bpffs)


def main() -> None:
    """Remove everything that this system left in a bpffs (`python -m ... [root]`)."""
    cleanup(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_BPFFS)


if __name__ == "__main__":
    main()
