# SPDX-License-Identifier: Apache-2.0
"""What the suite needs of a cluster, whoever provides it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from e2e.cluster.shell import Progress


class Provider(Protocol):
    """A Kubernetes cluster without kube-proxy and without CNI that this process can bring up."""

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of a cluster administrator, usable from the root namespace."""

    @property
    def kubectl_path(self) -> Path:
        """The kubectl to use."""

    def node_names(self) -> list[str]:
        """Names of the nodes, in order."""

    def up(self, progress: Progress, count: int, coredns: bool = True) -> None:
        """Bring the cluster to `count` nodes; may be called again."""

    def down(self, progress: Progress) -> None:
        """Remove the cluster and all that `up` made."""

    def load_images(self, progress: Progress, names: Sequence[str] = ()) -> None:
        """Build changed images (those whose name contains one of `names`) and load them."""

    def load_archive(self, progress: Progress, path: Path) -> None:
        """Load a docker or OCI archive into every node."""

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl; `CommandFailed` with its words when it fails."""

    def node_command(self, name: str, argv: Sequence[str]) -> list[str]:
        """Command line that runs `argv` on node `name` as one of its host processes."""

    def node_netns(self, name: str) -> Path:
        """File of the network namespace of node `name`, as seen from the root namespaces."""

    def node_probe(self, name: str, args: Sequence[str]) -> list[str]:
        """Command line that runs the probe command in the network of node `name`."""

    def outside_addresses(self) -> tuple[str, str]:
        """IPv4 and IPv6 address of the host outside the cluster."""

    def outside_command(self, argv: Sequence[str]) -> list[str]:
        """Command line that runs `argv` on a host outside the cluster."""

    def outside_probe(self, args: Sequence[str]) -> list[str]:
        """Command line that runs the probe command on the host outside the cluster."""

    def reboot(self, name: str) -> None:
        """Power a node off and on."""

    def restart_containerd(self, name: str) -> None:
        """Restart a node's containerd without its containers."""
