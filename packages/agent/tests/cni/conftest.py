# SPDX-License-Identifier: Apache-2.0
"""The static plugin, built once, and a way to call it as a container runtime does."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "shim" / "cilium-cni.c"
CONF = json.dumps({"cniVersion": "1.0.0", "name": "cilium", "type": "cilium-cni"})
Call = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the plugin with the flags that ship."""
    target = tmp_path_factory.mktemp("shim") / "cilium-cni"
    compiler = shutil.which("musl-gcc") or "gcc"
    flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(target), str(SOURCE)], check=True)
    return target


@pytest.fixture
def call(plugin: Path, tmp_path: Path) -> Call:
    """Call the plugin; returns its exit code and its parsed output, None for no output."""

    async def run(command: str, stdin: str | bytes = CONF, **env: str) -> tuple[int, Any]:
        variables = {"CNI_COMMAND": command, "CILIUM_RUN_DIR": str(tmp_path / "run"), **env}
        process = await asyncio.create_subprocess_exec(
            plugin,
            env={"PATH": os.environ["PATH"], **variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(stdin.encode() if isinstance(stdin, str) else stdin)
        assert process.returncode is not None
        return process.returncode, json.loads(out) if out else None

    return run
