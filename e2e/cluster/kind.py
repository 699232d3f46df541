# SPDX-License-Identifier: Apache-2.0
"""The `kind` provider: the same suite where Docker is. Shells out to kind, docker and kubectl.

The control plane is node1, so that a cluster of three nodes has three agents, as `local` has.
Addresses are Docker's to choose: they are asked for, never assumed.
"""

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
PROBE_IMAGE = next(image.name for image in images.IMAGES if "/probe:" in image.name)


def configuration(count: int) -> str:
    """kind's cluster configuration (JSON, which is YAML) for `count` nodes. Pure.

    Every node is named and tainted as `local` does it; the control plane's has no taint of its own,
    since the suite runs pods on every node.
    """
    taint = {"key": spec.AGENT_TAINT, "value": "true", "effect": "NoSchedule"}

    def node(name: str, role: str, kind: str) -> dict[str, object]:
        registration = {"name": name, "taints": [taint]}
        patch = json.dumps({"kind": kind, "nodeRegistration": registration})
        return {"role": role, "kubeadmConfigPatches": [patch]}

    first, *others = (host.name for host in spec.nodes(count))
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
            "nodes": [
                node(first, "control-plane", "InitConfiguration"),
                *(node(name, "worker", "JoinConfiguration") for name in others),
            ],
        },
        indent=1,
    )


def container_of(node: str) -> str:
    """kind's container of a node: NAME-control-plane, NAME-worker, NAME-worker2 and so on. Pure."""
    number = int(node.removeprefix("node"))
    if number == 1:
        return f"{CLUSTER}-control-plane"
    return f"{CLUSTER}-worker{'' if number == 2 else number - 1}"


class Kind:
    """A kind cluster; its containers are the nodes of the suite."""

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
        count = sum(name.startswith(f"{CLUSTER}-") for name in names)
        return [host.name for host in spec.nodes(count)] if count else []

    def up(self, progress: Progress, count: int, coredns: bool = True) -> None:
        """Create the kind cluster unless it is there. CoreDNS is kind's own.

        The outside host comes with `load_images`: it runs from the probe's image.
        """
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
        self._start_outside()

    def load_archive(self, progress: Progress, path: Path) -> None:
        self._require_docker()
        run([_tool("kind"), "load", "image-archive", path, "--name", CLUSTER], timeout=600)
        progress.step(f"imported {path.name}")

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        command: list[str | Path] = [self.kubectl_path, "--kubeconfig", self.kubeconfig, *args]
        return run(command, stdin=stdin, timeout=timeout)

    def node_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return [_tool("docker"), "exec", "-i", container_of(name), *argv]

    def node_netns(self, name: str) -> Path:
        """The namespace of the node container's first process."""
        return Path(f"/proc/{self._inspect(container_of(name), '.State.Pid')}/ns/net")

    def node_probe(self, name: str, args: Sequence[str]) -> list[str]:
        """A container of the probe's image in the node's network; nodes have no Python."""
        network = f"--network=container:{container_of(name)}"
        return [_tool("docker"), "run", "--rm", "-i", network, PROBE_IMAGE, "probe", *args]

    def outside_addresses(self) -> tuple[str, str]:
        """What Docker gave the outside host on kind's network."""
        network = "(index .NetworkSettings.Networks `kind`)"
        v4 = self._inspect(OUTSIDE_CONTAINER, f"{network}.IPAddress")
        return v4, self._inspect(OUTSIDE_CONTAINER, f"{network}.GlobalIPv6Address")

    def outside_command(self, argv: Sequence[str]) -> list[str]:
        return [_tool("docker"), "exec", "-i", OUTSIDE_CONTAINER, *argv]

    def outside_probe(self, args: Sequence[str]) -> list[str]:
        return self.outside_command(["probe", *args])

    def reboot(self, name: str) -> None:
        run([_tool("docker"), "restart", container_of(name)], timeout=180)

    def restart_containerd(self, name: str) -> None:
        run(self.node_command(name, ["systemctl", "restart", "containerd"]), timeout=60)

        def active() -> bool:
            query = self.node_command(name, ["systemctl", "is-active", "containerd"])
            return run(query, check=False).strip() == "active"

        wait_for(f"containerd of {name}", active, 60)

    def _start_outside(self) -> None:
        # A container beside the nodes on kind's network, made anew with the image it runs from.
        have = run([_tool("docker"), "images", "-q", PROBE_IMAGE]).strip()
        if not have:
            return
        run([_tool("docker"), "rm", "-f", OUTSIDE_CONTAINER], check=False)
        run(
            [
                *(_tool("docker"), "run", "-d", "--network", "kind", "--name", OUTSIDE_CONTAINER),
                *("--entrypoint", "sleep", PROBE_IMAGE, "infinity"),
            ]
        )

    def _inspect(self, container: str, field: str) -> str:
        format_ = f"{{{{{field}}}}}"
        return run([_tool("docker"), "inspect", "--format", format_, container]).strip()

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
