# SPDX-License-Identifier: Apache-2.0
"""A node: namespaces, cgroup leaves, containerd and kubelet on the host's own root file system.

Killing the node's process 1 ends every process of the node; starting it again on the same
folders is a reboot. Concurrency: different nodes may be handled from different threads.
"""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

from e2e.cluster import cgroups, network, node_config, pki, processes, spec
from e2e.cluster.errors import ClusterError
from e2e.cluster.shell import run, spawn, wait_for

INIT = Path(__file__).with_name("node-init.sh")
SYSCTLS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
# Folders of the host that a node binds its own over; made by `up` when missing.
MOUNT_POINTS = (
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni",
    "/etc/containerd",
    "/opt/cni",
)


class Node:
    """One node of the local cluster; `state` is the cluster's state folder."""

    def __init__(self, host: spec.Host, state: Path) -> None:
        self.host = host
        self.name = host.name
        self.folder = state / "nodes" / host.name
        self._state = state
        self._pid_file = self.folder / "pid"

    @property
    def pid(self) -> int | None:
        """Host pid of the node's process 1, None when the node is down."""
        outer = processes.recall(self._pid_file)
        return None if outer is None else processes.only_child(outer)

    def configure(self) -> None:
        """Write the node's files; keeps its machine id and container store."""
        folder, etc = self.folder, self.folder / "root" / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        pki_folder = self._state / "pki"
        (folder / "containerd.toml").write_text(node_config.containerd_toml())
        (folder / "kubelet.json").write_text(node_config.kubelet(pki_folder, folder, self.name))
        (folder / "kubeconfig").write_text(pki.kubeconfig(pki_folder, self.name, spec.API_URL))
        (folder / "kubeconfig").chmod(0o600)
        (folder / "resolv.conf").write_text(node_config.resolv_conf())
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(node_config.hosts(self.name))
        if not (etc / "machine-id").exists():
            (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        for setting, value in SYSCTLS.items():
            file = folder / "sysctl" / setting
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")

    def start(self) -> None:
        """Start the node unless it runs; returns when containerd answers."""
        if self.pid is not None:
            return
        cgroups.make(self.name)
        environment = {
            "NODE": self.name,
            "NODE_IPS": f"{self.host.ipv4},{self.host.ipv6}",
            "STATE": str(self.folder),
            "BIN": str(self._state / "bin"),
            "CGROUPS": "\n".join(" ".join(entry) for entry in cgroups.current()),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
        }
        outer = spawn(
            self._joined(
                [
                    *("env", "-i", *(f"{key}={value}" for key, value in environment.items())),
                    *("nsenter", f"--net={self.host.netns_path}", "--"),
                    *("unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork"),
                    *("--kill-child", "--propagation", "private", str(INIT)),
                ]
            ),
            self.folder / "logs" / "init.log",
        )
        processes.remember(self._pid_file, outer)
        wait_for(f"containerd of {self.name}", self._containerd_answers, timeout=60)

    def stop(self) -> None:
        """End every process of the node. Its folders and namespace stay."""
        processes.stop(self._pid_file)

    def reboot(self) -> None:
        """Power the node off and on: processes, /run, BPF objects, links, routes and rules go."""
        self.stop()
        network.remove_host(self.host)
        cgroups.remove(self.name)
        network.add_host(self.host)
        self.start()

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` as a host process of this node."""
        pid = str(self._running())
        return self._joined(["nsenter", "-t", pid, "-m", "-u", "-i", "-n", "-p", "-C", *argv])

    def has_layer(self, digest: str) -> bool:
        """Whether this node's containerd keeps the blob sha256:`digest`."""
        store = self.folder / "root/var/lib/containerd/io.containerd.content.v1.content"
        return (store / "blobs" / "sha256" / digest).exists()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to this node's own processes called `name` (comm); return how many."""
        pid_namespace = os.readlink(f"/proc/{self._running()}/ns/pid")
        sent = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                same = os.readlink(entry / "ns" / "pid") == pid_namespace
                if same and (entry / "comm").read_text().strip() == name[:15]:
                    os.kill(int(entry.name), number)
                    sent += 1
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return sent

    def restart_containerd(self) -> None:
        """End containerd (not the containers); the node starts it again at once."""
        if self.kill("containerd", signal.SIGTERM) == 0:
            raise ClusterError(f"{self.name}: containerd does not run")
        wait_for(f"containerd of {self.name}", self._containerd_answers, timeout=30)

    def _running(self) -> int:
        pid = self.pid
        if pid is None:
            raise ClusterError(f"{self.name} is down: `python -m e2e.cluster up` starts it")
        return pid

    def _joined(self, argv: list[str]) -> list[str]:
        # Joins the node's leaf in every hierarchy, then becomes the command.
        join = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
        pure = len(cgroups.current()) == 1
        leaves = [
            str(leaf / "init" / "cgroup.procs")
            if pure and (leaf / "init").exists()
            else str(leaf / "cgroup.procs")
            for leaf in cgroups.leaves(self.name)
        ]
        return ["sh", "-ec", join, "sh", *leaves, "--", *argv]

    def _containerd_answers(self) -> bool:
        if processes.recall(self._pid_file) is None:
            log = (self.folder / "logs" / "init.log").read_text()
            raise ClusterError(f"{self.name} did not start:\n{log[-2000:]}")
        pid = self.pid
        if pid is None or not Path(f"/proc/{pid}/root/run/containerd/containerd.sock").exists():
            return False
        try:
            run(self.command("ctr", "--connect-timeout", "2s", "version"), timeout=10)
        except ClusterError:
            return False
        return True
