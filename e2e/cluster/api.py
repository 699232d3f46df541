# SPDX-License-Identifier: Apache-2.0
"""`Cluster`: what tests, the demo and benches use, the same for every provider."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.kind import Kind
from e2e.cluster.local import Local
from e2e.cluster.provider import Provider
from e2e.cluster.shell import Progress, run


def provider_named(name: str) -> Provider:
    """The provider `local` or `kind`."""
    if name == "local":
        return Local()
    if name == "kind":
        return Kind()
    raise ClusterError(f"unknown provider {name!r}: use local or kind")


class Cluster:
    """The cluster of this repository; attaches to a running one, or `up` brings it up."""

    def __init__(self, provider: str | None = None, progress: Progress | None = None) -> None:
        """`provider` is local or kind; None takes $PROVIDER, and local when that is not set."""
        self.provider = provider_named(provider or os.environ.get("PROVIDER", "local"))
        self._progress = progress or Progress()

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes: node1, node2, …"""
        return self.provider.node_names()

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator."""
        return self.provider.kubeconfig

    def up(self, nodes: int = 3, coredns: bool = True) -> None:
        """Bring the cluster up; may be called again."""
        self.provider.up(self._progress, nodes, coredns)

    def down(self) -> None:
        """Remove the cluster and all that it made on this machine."""
        self.provider.down(self._progress)

    def load_images(self, *names: str) -> None:
        """Build what changed and load it: all images, or those whose name contains a word."""
        self.provider.load_images(self._progress, names)

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl and return its stdout. CommandFailed with kubectl's own words."""
        return self.provider.kubectl(*args, stdin=stdin, timeout=timeout)

    def node_exec(
        self,
        node: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> str:
        """Run `argv` as a host process of `node` (its namespaces and cgroups); its stdout."""
        command = self.provider.node_command(node, argv)
        return run(command, stdin=stdin, timeout=timeout, check=check)

    def node_spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `argv` on `node` and return the process; the caller ends it."""
        return _spawn(self.provider.node_command(node, argv))

    def node_netns(self, node: str) -> Path:
        """File of the network namespace of `node`, as seen from the root namespaces."""
        return self.provider.node_netns(node)

    def node_probe(
        self, node: str, *args: str, stdin: str | None = None, check: bool = True
    ) -> str:
        """Run the probe command in the network of `node`; its stdout."""
        return run(self.provider.node_probe(node, args), stdin=stdin, timeout=60, check=check)

    @property
    def outside_addresses(self) -> tuple[str, str]:
        """IPv4 and IPv6 address of the host outside the cluster."""
        return self.provider.outside_addresses()

    def outside_probe(self, *args: str) -> subprocess.Popen[bytes]:
        """Start the probe command on the outside host; the caller ends it."""
        return _spawn(self.provider.outside_probe(args))

    def outside_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> str:
        """Run `argv` on the host outside the cluster; its stdout."""
        command = self.provider.outside_command(argv)
        return run(command, stdin=stdin, timeout=timeout, check=check)

    def reboot(self, node: str) -> None:
        """Power `node` off and on; returns when its containerd answers."""
        self.provider.reboot(node)

    def restart_containerd(self, node: str) -> None:
        """Restart containerd on `node`; containers stay."""
        self.provider.restart_containerd(node)


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
