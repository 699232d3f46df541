# SPDX-License-Identifier: Apache-2.0
"""The `local` provider: a Kubernetes cluster of namespaces on this machine.

Up is re-runnable: each part is made only when it is missing. Down removes what `up` made, also
after a half-finished `up`. Concurrency: nodes are handled in threads; one `up` at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import (
    archive,
    binaries,
    cgroups,
    forwarder,
    host_packages,
    images,
    network,
    pki,
    snapshot,
    spec,
)
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterError, CommandFailed
from e2e.cluster.node import MOUNT_POINTS, Node
from e2e.cluster.shell import Progress, in_parallel, require_root, run, wait_for

COREDNS_MANIFEST = Path(__file__).with_name("coredns.yaml")
IMPORT_SECONDS = 600
_PROBE = ("env", f"PYTHONPATH={spec.REPOSITORY}", sys.executable, "-m", "e2e.probe")


class Local:
    """The cluster whose state is in `state` (default: the repository's `.cluster`)."""

    def __init__(self, state: Path | None = None) -> None:
        self.state = state or spec.state_folder()
        self.control_plane = ControlPlane(self.state)

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def before(self) -> Path:
        """Record of the machine, taken before anything was made; see `snapshot`."""
        return self.state / "before.json"

    @property
    def kubectl_path(self) -> Path:
        return self.state / "bin" / "kubectl"

    def node_names(self) -> list[str]:
        """Names of the nodes that this state has, in order."""
        folder = self.state / "nodes"
        if not folder.is_dir():
            return []
        return sorted((n.name for n in folder.iterdir()), key=lambda name: int(name[4:]))

    def node(self, name: str) -> Node:
        """One node by its name. ClusterError when there is none of that name."""
        for host in spec.nodes(spec.MAX_NODES):
            if host.name == name and name in self.node_names():
                return Node(host, self.state)
        raise ClusterError(f"no node {name!r}; there are: {', '.join(self.node_names()) or 'none'}")

    def up(self, progress: Progress, count: int, coredns: bool = True) -> None:
        """Bring the cluster to `count` nodes, CoreDNS applied, all images that exist loaded."""
        require_root()
        host_packages.require_host_packages()
        hosts = spec.nodes(count)
        nodes = [Node(host, self.state) for host in hosts]
        if not self.state.exists():
            before = snapshot.take()
            self.state.mkdir(parents=True)
            snapshot.save(before, self.before)
        progress.step("programs of Kubernetes")
        binaries.link_all(self.state / "bin", binaries.hyperkube(progress))
        self._host_folders()
        pki.all_certificates(self.state / "pki", hosts)
        progress.step("underlay")
        network.add_switch()
        for host in (spec.CONTROL_PLANE, *hosts, spec.OUTSIDE):
            network.add_host(host)
        progress.step("control plane")
        self.control_plane.configure()
        self.control_plane.start()
        self._write_kubeconfig()
        forwarder.start(self.state)
        for node in nodes:
            node.configure()
        progress.step(f"{count} nodes")
        in_parallel(Node.start, nodes)
        progress.step("images of the cluster itself")
        self.load_images(progress, ["pause", "coredns"])
        self.control_plane.wait_ready()
        progress.step("API server is ready")
        self._wait_registered(count)
        if coredns:
            self._wait_service_accounts()
            self.kubectl("apply", "-f", str(COREDNS_MANIFEST))
        progress.step(f"{count} nodes registered; kubeconfig: {self.kubeconfig}")

    def down(self, progress: Progress) -> None:
        """Remove the cluster and everything that `up` made; caches stay."""
        require_root()
        names = self.node_names()
        forwarder.stop(self.state)
        for name in names:
            self.node(name).stop()
        self.control_plane.stop()
        progress.step("processes ended")
        for namespace in network.namespaces():
            network.remove(namespace)
        for name in (*names, spec.CONTROL_PLANE.name):
            cgroups.remove(name)
        self._remove_host_folders()
        if self.state.exists():
            shutil.rmtree(self.state)
        progress.step("namespaces, cgroups and state removed")

    def load_images(self, progress: Progress, names: Sequence[str] = ()) -> None:
        """Build changed images (all, or those whose name contains one of `names`) and import
        them into every node that lacks them, nodes in parallel."""
        archives = images.build_all(progress, names)

        def load(name: str) -> int:
            node = self.node(name)
            loaded = images.Loaded(node.folder / "images.json")
            wanted = loaded.missing(archives)
            for image in wanted:
                self._import_missing(node, image)
                loaded.add(image)
            return len(wanted)

        counts = in_parallel(load, self.node_names())
        if sum(counts):
            progress.step(f"imported {sum(counts)} images into {len(counts)} nodes")

    def load_archive(self, progress: Progress, path: Path) -> None:
        """Import any docker or OCI archive into every node."""
        if not path.is_file():
            raise ClusterError(f"{path}: no such archive")
        in_parallel(lambda name: self._import(self.node(name), path), self.node_names())
        progress.step(f"imported {path.name} into {len(self.node_names())} nodes")

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl on this cluster and return its output."""
        return run(
            [self.kubectl_path, "--kubeconfig", self.kubeconfig, *args],
            stdin=stdin,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )

    def node_command(self, name: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` as a host process of node `name`."""
        return self.node(name).command(*argv)

    def node_netns(self, name: str) -> Path:
        """The file of a node's network namespace."""
        return Path(self.node(name).host.netns_path)

    def node_probe(self, name: str, args: Sequence[str]) -> list[str]:
        """The command line of the probe command from this tree, as a process of a node."""
        return self.node_command(name, [*_PROBE, *args])

    def outside_addresses(self) -> tuple[str, str]:
        """The addresses of the outside host."""
        return spec.OUTSIDE.ipv4, spec.OUTSIDE.ipv6

    def outside_command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on the host outside the cluster."""
        return network.inside(spec.OUTSIDE, *argv)

    def outside_probe(self, args: Sequence[str]) -> list[str]:
        """The command line of the probe command from this tree, on the outside host."""
        return self.outside_command([*_PROBE, *args])

    def reboot(self, name: str) -> None:
        """Power a node off and on."""
        self.node(name).reboot()

    def restart_containerd(self, name: str) -> None:
        """Restart a node's containerd; containers stay."""
        self.node(name).restart_containerd()

    def _import_missing(self, node: Node, image: images.Archive) -> None:
        part = node.folder / "import.tar"
        archive.write_missing(image.path, image.image, node.has_layer, part)
        try:
            self._import(node, part)
        except CommandFailed:
            # A layer that is on disk but that containerd has just given up: send all of them.
            self._import(node, image.path)
        finally:
            part.unlink(missing_ok=True)

    def _import(self, node: Node, path: Path) -> None:
        run(
            node.command("ctr", "-n", "k8s.io", "images", "import", str(path)),
            timeout=IMPORT_SECONDS,
        )

    def _write_kubeconfig(self) -> None:
        server = f"https://127.0.0.1:{spec.FORWARD_PORT}"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(pki.kubeconfig(self.state / "pki", "admin", server))

    def _wait_registered(self, count: int) -> None:
        def registered() -> bool:
            return len(self.kubectl("get", "nodes", "-o", "name").split()) >= count

        wait_for("registration of the nodes", registered, 60, every=0.5)

    def _wait_service_accounts(self) -> None:
        def made() -> bool:
            query = ("get", "serviceaccount", "default", "-n", "kube-system", "--ignore-not-found")
            return bool(self.kubectl(*query))

        wait_for("default service accounts", made, 60, every=0.3)

    def _host_folders(self) -> None:
        # Remember what was made, so that `down` removes it and nothing else.
        file = self.state / "host.json"
        if file.exists():
            return
        made: list[str] = []
        for path in map(Path, MOUNT_POINTS):
            missing = [p for p in (*reversed(path.parents), path) if not p.exists()]
            made += map(str, missing)
            path.mkdir(parents=True, exist_ok=True)
        facts = {"folders": made, "netns_mounted": network.netns_folder_is_mounted()}
        facts["netns_folder"] = Path("/run/netns").exists()
        file.write_text(json.dumps(facts))

    def _remove_host_folders(self) -> None:
        file = self.state / "host.json"
        if not file.exists():
            return
        facts = json.loads(file.read_text())
        for name in reversed(facts["folders"]):
            path = Path(name)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        folder = Path("/run/netns")
        if not facts["netns_mounted"] and folder.is_dir() and not any(folder.iterdir()):
            run(["umount", str(folder)], check=False)
            if not facts["netns_folder"]:
                folder.rmdir()
