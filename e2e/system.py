# SPDX-License-Identifier: Apache-2.0
"""Put this system and the demo application on a running cluster, as a user does.

The demo installs by Helm itself, as the article does; the end-to-end suite by `cilium install`, and
`e2e/test_upgrade.py` changes the release by both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
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
    return _run("helm", kubeconfig, args)


def cilium(kubeconfig: Path, *args: str) -> str:
    """Run the `cilium` command on the cluster and return its output; errors as `helm`."""
    return _run("cilium", kubeconfig, args)


def install(cluster: Kubectl, values: Path = VALUES) -> None:
    """Install or upgrade the chart by Helm with a values file; returns before pods are ready."""
    helm(
        cluster.kubeconfig,
        *("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values)),
    )


def install_by_cli(cluster: Kubectl, values: Path = VALUES) -> None:
    """Install, or upgrade what is installed, by the `cilium` command with a values file."""
    listed = helm(cluster.kubeconfig, "list", "-n", NAMESPACE, "--all", "--short").split()
    verb = "upgrade" if RELEASE in listed else "install"
    cilium(cluster.kubeconfig, verb, "--values", str(values))


def _run(program: str, kubeconfig: Path, args: Sequence[str]) -> str:
    binary = shutil.which(program) or str(ROOT / ".venv" / "bin" / program)
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run([binary, *args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise RuntimeError(f"{program} {' '.join(args)}: {said}")
    return done.stdout


def wait_ready(cluster: Kubectl, timeout: int = 180) -> None:
    """Wait until agent, operator, proxies and cluster DNS have rolled out."""
    ours = ("deployment/cilium-operator", "daemonset/cilium", "daemonset/cilium-envoy")
    for workload in (*ours, "deployment/coredns"):
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", workload, f"--timeout={timeout}s")


def deploy_emojivoto(cluster: Kubectl, timeout: int = 180) -> None:
    """Apply the demo application and wait for its four workloads."""
    cluster.kubectl("apply", "-f", str(EMOJIVOTO))
    for name in ("emoji", "voting", "web", "vote-bot"):
        cluster.kubectl(
            *("-n", "emojivoto", "rollout", "status", f"deployment/{name}", f"--timeout={timeout}s")
        )
