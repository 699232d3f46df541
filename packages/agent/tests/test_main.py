# SPDX-License-Identifier: Apache-2.0
"""The process: exit codes, health while it starts, a quick end; the loop is never held."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

KUBECONFIG = """
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: x, user: {token: secret}}]
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "K8S_NODE_NAME": "node1"}
    command = [sys.executable, "-m", "cilium_agent.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


def test_bad_settings_end_with_the_key(tmp_path: Path) -> None:
    (tmp_path / "tunnel-protocol").write_text("gre")
    ended = run("--config-dir", str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith("cilium-agent: tunnel-protocol: 'gre' is not supported")
    assert run("--config-dir", str(tmp_path / "absent")).returncode == 2
    assert run("--help").stdout.startswith("usage: cilium-agent")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bpf_root(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of the test's own."""
    root = tmp_path / "bpf"
    root.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", root], check=True)
    yield root
    subprocess.run(["umount", root], check=True)


@pytest.mark.root
def test_without_an_api_server_it_waits_and_ends_at_once(tmp_path: Path, bpf_root: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    health = free_port()
    flags = {
        "config-dir": tmp_path / "config",
        "k8s-kubeconfig-path": tmp_path / "kubeconfig",
        "state-dir": tmp_path / "run",
        "bpf-root": bpf_root,
        "agent-health-addr": f"127.0.0.1:{health}",
        "prometheus-serve-addr": f"127.0.0.1:{free_port()}",
    }
    words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "K8S_NODE_NAME": "node1", "PYTHONASYNCIODEBUG": "1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cilium_agent.main", *words], env=environment, stderr=log
        )
    try:
        assert wait_for_health(health) == (
            503,
            "starting: waiting for the Node from the API server",
        )
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - start < 3
    finally:
        process.kill()
    text = (tmp_path / "log").read_text()
    assert "agent stops" in text
    assert "Traceback" not in text
    assert (bpf_root / "cilium/maps/cilium_ipcache_v1").exists(), "maps stay"
    assert not (tmp_path / "run/state").exists()


def wait_for_health(port: int) -> tuple[int, str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2)
        except urllib.error.HTTPError as error:
            text = error.read().decode().strip()
            if "Node" in text:
                return error.code, text
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("health never answered")
