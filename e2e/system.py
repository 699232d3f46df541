# SPDX-License-Identifier: Apache-2.0
"""Put this system and the demo application on a running cluster, through real Helm.

One way for the demo and for the end-to-end suite, so that what a user runs is what is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "cilium"
VALUES = ROOT / "e2e" / "values.yaml"
EMOJIVOTO = ROOT / "e2e" / "emojivoto" / "manifests.yaml"
RELEASE = "cilium"
NAMESPACE = "kube-system"


class Kubectl(Protocol):
    """The part of a cluster that this module needs."""

    @property
    def kubeconfig(self) -> Path:
        """Path of the kubeconfig file."""

    def kubectl(self, *args: str) -> str:
        """Run kubectl and return its output; an error raises with what kubectl said."""


def helm(kubeconfig: Path, *args: str) -> str:
    """Run Helm against the cluster and return its output. RuntimeError with Helm's own words."""
    binary = shutil.which("helm") or str(ROOT / ".venv" / "bin" / "helm")
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run([binary, *args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"helm {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def install(
    cluster: Kubectl, values: Path = VALUES, settings: Mapping[str, str] | None = None
) -> None:
    """Install or upgrade the chart with a values file; returns before pods are ready."""
    extra = [
        word for key, value in (settings or {}).items() for word in ("--set", f"{key}={value}")
    ]
    helm(
        cluster.kubeconfig,
        *("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values), *extra),
    )


def uninstall(cluster: Kubectl) -> None:
    """Remove the release and wait for its hooks."""
    helm(cluster.kubeconfig, "uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "3m")


def wait_ready(cluster: Kubectl, timeout: int = 180) -> None:
    """Wait until agent, operator and cluster DNS have rolled out."""
    for workload in ("deployment/cilium-operator", "daemonset/cilium", "deployment/coredns"):
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", workload, f"--timeout={timeout}s")


def deploy_emojivoto(cluster: Kubectl, timeout: int = 180) -> None:
    """Apply the demo application and wait for its four workloads."""
    cluster.kubectl("apply", "-f", str(EMOJIVOTO))
    for name in ("emoji", "voting", "web", "vote-bot"):
        cluster.kubectl(
            *("-n", "emojivoto", "rollout", "status", f"deployment/{name}", f"--timeout={timeout}s")
        )
