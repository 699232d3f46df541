# SPDX-License-Identifier: Apache-2.0
"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a namespace of their own.

There is no kube-proxy and no CIDR allocation: both are the system's under test.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster import binaries, cgroups, pki, processes, spec
from e2e.cluster.shell import run, spawn, wait_for

INIT = Path(__file__).with_name("control-plane-init.sh")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def arguments(state: Path) -> Mapping[str, list[str]]:
    """The flags of each program, given the cluster's state folder. Pure."""
    keys = state / "pki"
    service_cidrs = ",".join(spec.SERVICE_CIDRS)
    etcd = "http://127.0.0.1:2379"
    return {
        "etcd": [
            f"--data-dir={state}/control-plane/etcd",
            "--name=control-plane",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--advertise-address={spec.CONTROL_PLANE.ipv4}",
            f"--secure-port={spec.API_PORT}",
            f"--etcd-servers={etcd}",
            f"--service-cluster-ip-range={service_cidrs}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--kubelet-certificate-authority={keys}/ca.crt",
            f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
            f"--kubelet-client-key={keys}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{spec.CLUSTER_DOMAIN}",
            f"--service-account-key-file={keys}/sa.pub",
            f"--service-account-signing-key-file={keys}/sa.key",
            "--profiling=false",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={state}/control-plane/controller-manager.kubeconfig",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={keys}/sa.key",
            f"--root-ca-file={keys}/ca.crt",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            f"--service-cluster-ip-range={service_cidrs}",
            "--node-monitor-grace-period=20s",
            "--profiling=false",
        ],
        "kube-scheduler": [
            f"--kubeconfig={state}/control-plane/scheduler.kubeconfig",
            "--leader-elect=false",
            "--profiling=false",
        ],
    }


class ControlPlane:
    """The control plane of the cluster whose state folder is `state`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._folder = state / "control-plane"
        self._pid_file = self._folder / "pid"

    @property
    def running(self) -> bool:
        return processes.recall(self._pid_file) is not None

    def configure(self) -> None:
        """Write kubeconfig files and one start script per program."""
        keys = self._state / "pki"
        for folder in ("run", "logs", "etcd"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "etcd").chmod(0o700)
        for name in ("controller-manager", "scheduler"):
            text = pki.kubeconfig(keys, name, spec.API_URL)
            (self._folder / f"{name}.kubeconfig").write_text(text)
        programs = {"etcd": binaries.packaged("etcd")}
        for name, flags in arguments(self._state).items():
            program = programs.get(name, self._state / "bin" / name)
            words = shlex.join([str(program), *flags])
            script = self._folder / "run" / name
            script.write_text(f"#!/bin/sh\nexec {words}\n")
            script.chmod(0o755)

    def start(self) -> None:
        """Start unless it runs; does not wait for the API server."""
        if self.running:
            return
        name = spec.CONTROL_PLANE.name
        cgroups.make(name)
        join = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
        pid = spawn(
            [
                *("sh", "-ec", join, "sh"),
                *(leaf / "cgroup.procs" for leaf in cgroups.leaves(name)),
                *("--", "env", f"STATE={self._folder}"),
                *("nsenter", f"--net={spec.CONTROL_PLANE.netns_path}", "--"),
                *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
                *("--propagation", "private", INIT),
            ],
            self._folder / "logs" / "init.log",
        )
        processes.remember(self._pid_file, pid)

    def stop(self) -> None:
        """End all four programs."""
        processes.stop(self._pid_file)

    def wait_ready(self, timeout: float = 90) -> None:
        """Wait for the API server's /readyz, asked through the forwarder."""
        kubeconfig = self._state / "kubeconfig"
        kubectl = self._state / "bin" / "kubectl"

        def ready() -> bool:
            out = run([kubectl, "--kubeconfig", kubeconfig, "get", "--raw", "/readyz"], check=False)
            return out.strip() == "ok"

        wait_for("the API server", ready, timeout, every=0.3)
