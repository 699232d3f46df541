# SPDX-License-Identifier: Apache-2.0
"""The `kind` provider: the same suite where Docker is. Shells out to kind, docker and kubectl."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import images, spec
from e2e.cluster.errors import HostNotReady
from e2e.cluster.shell import Progress, run, wait_for

CLUSTER = "cilium-python"
OUTSIDE_CONTAINER = "cpy-outside"


def configuration(count: int) -> str:
    """kind's cluster configuration (JSON, which is YAML) for `count` worker nodes. Pure."""
    taint = {"key": spec.AGENT_TAINT, "value": "true", "effect": "NoSchedule"}

    def worker(name: str) -> dict[str, object]:
        registration = {"name": name, "taints": [taint]}
        join = json.dumps({"kind": "JoinConfiguration", "nodeRegistration": registration})
        return {"role": "worker", "kubeadmConfigPatches": [join]}

    workers = [worker(host.name) for host in spec.nodes(count)]
    return json.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {
                "ipFamily": "dual",
                "disableDefaultCNI": True,
                "kubeProxyMode": "none",
                "serviceSubnet": ",".join(spec.SERVICE_CIDRS),
            },
            "nodes": [{"role": "control-plane"}, *workers],
        },
        indent=1,
    )


def container_of(node: str) -> str:
    """kind's container of a node: node1 is NAME-worker, node2 NAME-worker2. Pure."""
    number = node.removeprefix("node")
    return f"{CLUSTER}-worker{'' if number == '1' else number}"


class Kind:
    """A kind cluster; its workers are the nodes of the suite."""

    def __init__(self, state: Path | None = None) -> None:
        self.state = state or spec.state_folder()

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def kubectl_path(self) -> Path:
        return Path(_tool("kubectl"))

    def node_names(self) -> list[str]:
        names = run([_tool("kind"), "get", "nodes", "--name", CLUSTER]).split()
        workers = sum("-worker" in name for name in names)
        return [host.name for host in spec.nodes(workers)] if workers else []

    def up(self, progress: Progress, count: int, coredns: bool = True) -> None:
        """Create the kind cluster unless it is there. CoreDNS is kind's own."""
        self._require_docker()
        self.state.mkdir(parents=True, exist_ok=True)
        if CLUSTER not in run([_tool("kind"), "get", "clusters"]).split():
            progress.step(f"kind cluster of {count} nodes")
            file = self.state / "kind.json"
            file.write_text(configuration(count))
            create: list[str | Path] = [_tool("kind"), "create", "cluster", "--name", CLUSTER]
            run([*create, "--config", file, "--kubeconfig", self.kubeconfig], timeout=900)
        if not coredns:
            self.kubectl("-n", "kube-system", "scale", "deployment/coredns", "--replicas=0")
        self._start_outside()
        progress.step(f"kubeconfig: {self.kubeconfig}")

    def down(self, progress: Progress) -> None:
        self._require_docker()
        run([_tool("docker"), "rm", "-f", OUTSIDE_CONTAINER], check=False)
        run([_tool("kind"), "delete", "cluster", "--name", CLUSTER], timeout=300)
        if self.state.exists():
            shutil.rmtree(self.state)
        progress.step("kind cluster removed")

    def load_images(self, progress: Progress, names: Sequence[str] = ()) -> None:
        """Build the images with docker from the same Dockerfiles, then `kind load`."""
        self._require_docker()
        wanted = [image for image in images.select(names) if image.program is None]
        for image in wanted:
            dockerfile = spec.REPOSITORY / image.dockerfile
            if not dockerfile.exists():
                progress.warn(f"{image.name}: no {image.dockerfile} yet, skipped")
                continue
            progress.step(f"building {image.name}")
            build: list[str | Path] = [_tool("docker"), "build", "-f", dockerfile]
            run([*build, "-t", image.name, spec.REPOSITORY], timeout=1800)
            run(
                [_tool("kind"), "load", "docker-image", image.name, "--name", CLUSTER],
                timeout=600,
            )

    def load_archive(self, progress: Progress, path: Path) -> None:
        self._require_docker()
        run([_tool("kind"), "load", "image-archive", path, "--name", CLUSTER], timeout=600)
        progress.step(f"imported {path.name}")

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        command: list[str | Path] = [self.kubectl_path, "--kubeconfig", self.kubeconfig, *args]
        return run(command, stdin=stdin, timeout=timeout)

    def node_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return [_tool("docker"), "exec", "-i", container_of(name), *argv]

    def outside_command(self, argv: Sequence[str]) -> list[str]:
        return [_tool("docker"), "exec", "-i", OUTSIDE_CONTAINER, *argv]

    def reboot(self, name: str) -> None:
        run([_tool("docker"), "restart", container_of(name)], timeout=180)

    def restart_containerd(self, name: str) -> None:
        run(self.node_command(name, ["systemctl", "restart", "containerd"]), timeout=60)

        def active() -> bool:
            query = self.node_command(name, ["systemctl", "is-active", "containerd"])
            return run(query, check=False).strip() == "active"

        wait_for(f"containerd of {name}", active, 60)

    def _start_outside(self) -> None:
        # A container beside the nodes on kind's network, from the probe image when it is built.
        running = run([_tool("docker"), "ps", "--format", "{{.Names}}"]).split()
        probe = next(image.name for image in images.IMAGES if "/probe:" in image.name)
        have = run([_tool("docker"), "images", "-q", probe]).strip()
        if OUTSIDE_CONTAINER in running or not have:
            return
        run(
            [
                *(_tool("docker"), "run", "-d", "--network", "kind", "--name", OUTSIDE_CONTAINER),
                *("--entrypoint", "sleep", probe, "infinity"),
            ]
        )

    def _require_docker(self) -> None:
        run([_tool("docker"), "version", "--format", "{{.Server.Version}}"])


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise HostNotReady(
            f"{name} is not on PATH: the kind provider needs Docker, kind and kubectl;"
            " use PROVIDER=local on a machine without Docker"
        )
    return found
