# SPDX-License-Identifier: Apache-2.0
"""A real etcd and kube-apiserver on the loopback, for tests of the operator against them.

The binary is the cluster's own (`HYPERKUBE`, or the one in the user's cache folder). Ports are
free ones; everything lives in one temporary folder and ends with `stop()`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ADMIN = "admin-token"
OPERATOR = "operator-token"
OPERATOR_USER = "system:serviceaccount:kube-system:cilium-operator"


def hyperkube() -> Path | None:
    """Return the newest Kubernetes binary there is, or None."""
    named = os.environ.get("HYPERKUBE")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cilium-python"
    found = [path for path in cache.glob("**/hyperkube*") if path.is_file()]
    found = [path for path in found if os.access(path, os.X_OK)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def etcd() -> Path | None:
    """Return the etcd binary that the development dependencies bring, or None."""
    path = Path(sys.executable).parent / "etcd"
    return path if path.exists() else None


class ControlPlane:
    """One API server with its etcd."""

    def __init__(self, folder: Path, binary: Path, etcd_binary: Path) -> None:
        self.folder = folder
        self._binary = binary
        self._etcd = etcd_binary
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = 0
        self.account = folder / "account"

    def start(self) -> None:
        """Start both and wait until the API server is ready."""
        client, peer, self.port = _free_ports(3)
        folder = self.folder
        self._keys()
        self._run(
            "etcd",
            [
                str(self._etcd),
                f"--data-dir={folder}/etcd",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            ],
        )
        self._run(
            "apiserver",
            [
                str(self._binary),
                "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{client}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--cert-dir={folder}/pki",
                f"--token-auth-file={folder}/tokens.csv",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder}/sa.key",
                f"--service-account-signing-key-file={folder}/sa.key",
                "--disable-admission-plugins=ServiceAccount",
                "--endpoint-reconciler-type=none",
            ],
        )
        self._wait_ready()
        (self.account / "ca.crt").write_bytes((folder / "pki" / "apiserver.crt").read_bytes())

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def request(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> Any:
        """Make a request as admin and return the decoded answer; None for 404."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "apiserver.crt"))
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as response:
                raw = response.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        return json.loads(raw) if raw.startswith(b"{") else raw

    def environment(self) -> dict[str, str]:
        """Return what an operator's pod would have in its environment."""
        return {
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "K8S_NODE_NAME": "test",
            "CILIUM_K8S_NAMESPACE": "kube-system",
        }

    def _keys(self) -> None:
        (self.folder / "tokens.csv").write_text(
            f"{ADMIN},admin,admin,system:masters\n{OPERATOR},{OPERATOR_USER},operator\n"
        )
        self.account.mkdir()
        (self.account / "token").write_text(OPERATOR)
        command = ["openssl", "genrsa", "-out", str(self.folder / "sa.key"), "2048"]
        subprocess.run(command, check=True, capture_output=True)

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self.folder)
        self._processes.append(process)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.request("GET", "/readyz") == b"ok":
                    return
            except (OSError, AssertionError) as error:
                if time.monotonic() > deadline:
                    log = (self.folder / "apiserver.log").read_text()[-2000:]
                    raise AssertionError(f"API server not ready: {error}\n{log}") from error
            time.sleep(0.2)


class OperatorProcess:
    """The operator as a process of its own, as a pod would run it."""

    def __init__(self, plane: ControlPlane, config: Path) -> None:
        self._plane = plane
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.log = config.parent / f"{config.name}.log"

    def start(self) -> None:
        """Start it."""
        command = [
            # A user without a name, as the image has it.
            *("unshare", "--user", "--map-user=65532", "--map-group=65532"),
            sys.executable,
            "-m",
            "cilium_operator.main",
            f"--config-dir={self._config}",
            f"--service-account={self._plane.account}",
        ]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self._plane.environment(), stdout=output, stderr=output
            )

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def end(self) -> int:
        """SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        self._process = None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(20)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    return _free_ports(1)[0]
