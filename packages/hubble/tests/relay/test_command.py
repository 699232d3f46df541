# SPDX-License-Identifier: Apache-2.0
"""The process as Kubernetes runs it: settings from a folder, a signal, exit codes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from relay_fakes import free_port

COMMAND = [sys.executable, "-m", "cilium_hubble.main", "relay"]


def settings(folder: Path, **values: str) -> list[str]:
    """Write keys as files and return the command."""
    wanted = {
        "disable-client-tls": "true",
        "disable-server-tls": "true",
        "peer-service": f"unix://{folder}/nobody.sock",
        "listen-address": f"127.0.0.1:{free_port()}",
        "health-listen-address": f"127.0.0.1:{free_port()}",
        "metrics-listen-address": f"127.0.0.1:{free_port()}",
        **{key.replace("_", "-"): value for key, value in values.items()},
    }
    for key, value in wanted.items():
        (folder / key).write_text(value)
    return [*COMMAND, "--config-dir", str(folder)]


@pytest.mark.timeout(30)
def test_it_serves_until_told_to_end(tmp_path: Path) -> None:
    process = subprocess.Popen(settings(tmp_path), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "relay serves" in said
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "relay stops" in process.stderr.read()


@pytest.mark.timeout(30)
def test_a_taken_port_and_bad_settings(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = f"127.0.0.1:{held.getsockname()[1]}"
        done = subprocess.run(
            settings(tmp_path, listen_address=taken), capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert f"cannot listen at {taken}" in done.stderr
    (tmp_path / "sort-buffer-len-max").write_text("many")
    bad = [*COMMAND, "--config-dir", str(tmp_path)]
    done = subprocess.run(bad, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "sort-buffer-len-max" in done.stderr
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "peer-service" in done.stdout
