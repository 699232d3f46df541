# SPDX-License-Identifier: Apache-2.0
"""`hubble` against relay, as a user asks: over `cilium hubble port-forward`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Hubble = Callable[..., str]


def tool(name: str) -> str:
    """Return the path of a command of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, name
    return found


@contextmanager
def asked(kubeconfig: Path) -> Iterator[Hubble]:
    """Run `hubble` against relay while the context lasts; each answer's text."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    forward = subprocess.Popen(
        [tool("cilium"), "hubble", "port-forward", "--port-forward", str(port)],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout is not None
        assert "Hubble Relay is at" in forward.stdout.readline()

        def run(*words: str) -> str:
            command = [tool("hubble"), *words, "--server", f"localhost:{port}"]
            return subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=60
            ).stdout

        yield run
    finally:
        forward.terminate()
        forward.wait(10)


def flows(text: str) -> list[dict[str, Any]]:
    """Return the flows among the lines of `hubble observe -o json`."""
    return [found["flow"] for found in map(json.loads, text.splitlines()) if "flow" in found]
