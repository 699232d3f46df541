# SPDX-License-Identifier: Apache-2.0
"""Command line of the test cluster: `python -m e2e.cluster up|down|status|…`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from e2e.cluster import binaries, doctor, host_packages, images, snapshot
from e2e.cluster.api import Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.shell import Progress


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    top.add_argument(
        "--provider", default=os.environ.get("PROVIDER", "local"), choices=["local", "kind"]
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring the cluster up, or what is missing of it")
    up.add_argument("--nodes", type=int, default=3, metavar="N")
    up.add_argument("--no-coredns", action="store_true", help="do not apply CoreDNS")
    commands.add_parser("down", help="remove the cluster and all that it made")
    commands.add_parser("status", help="nodes and pods")
    build = commands.add_parser("build-images", help="build images whose inputs changed")
    build.add_argument("names", nargs="*", help="words of image names; none means all")
    load = commands.add_parser("load-images", help="build-images, and load into every node")
    load.add_argument("names", nargs="*", help="words of image names; none means all")
    archive = commands.add_parser("load-image", help="load a docker or OCI archive")
    archive.add_argument("path", type=Path)
    for name, text in (
        ("reboot", "power a node off and on"),
        ("restart-containerd", "restart containerd of a node; containers stay"),
    ):
        commands.add_parser(name, help=text).add_argument("node")
    execute = commands.add_parser("exec", help="run a command on a node, or on `outside`")
    execute.add_argument("node")
    execute.add_argument("argv", nargs=argparse.REMAINDER)
    commands.add_parser("doctor", help="try each kernel feature that the system needs")
    record = commands.add_parser("snapshot", help="record what could be left on the machine")
    record.add_argument("file", type=Path)
    record.add_argument("--compare", action="store_true", help="compare with FILE instead")
    commands.add_parser("programs", help="build the programs of Kubernetes and CoreDNS, once")
    commands.add_parser("setup", help="install missing packages of the system (root)")
    return top


def _status(cluster: Cluster) -> None:
    print(cluster.kubectl("get", "nodes", "-o", "wide"), end="")
    print(cluster.kubectl("get", "pods", "-A", "-o", "wide"), end="")


def _exec(cluster: Cluster, node: str, argv: list[str]) -> None:
    words = [word for word in argv if word != "--"] or ["bash"]
    provider = cluster.provider
    if node == "outside":
        command = provider.outside_command(words)
    else:
        command = provider.node_command(node, words)
    os.execvp(command[0], command)


def _snapshot(file: Path, compare: bool) -> int:
    now = snapshot.take()
    if not compare:
        snapshot.save(now, file)
        return 0
    found = snapshot.difference(snapshot.load(file), now)
    print("\n".join(found) or "no difference")
    return 1 if found else 0


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked."""
    options = parser().parse_args(argv)
    progress = Progress()
    try:
        if options.command == "doctor":
            return doctor.main()
        if options.command == "snapshot":
            return _snapshot(options.file, options.compare)
        if options.command == "setup":
            host_packages.ensure_host_packages(progress)
            return 0
        if options.command == "programs":
            binaries.build_all(progress)
            return 0
        if options.command == "build-images" and options.provider == "local":
            images.build_all(progress, options.names)
            return 0
        _dispatch(Cluster(options.provider, progress), progress, options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _dispatch(cluster: Cluster, progress: Progress, options: argparse.Namespace) -> None:
    match options.command:
        case "up":
            cluster.up(options.nodes, not options.no_coredns)
        case "down":
            cluster.down()
        case "status":
            _status(cluster)
        case "load-images" | "build-images":
            cluster.load_images(*options.names)
        case "load-image":
            cluster.provider.load_archive(progress, options.path)
        case "reboot":
            cluster.reboot(options.node)
        case "restart-containerd":
            cluster.restart_containerd(options.node)
        case "exec":
            _exec(cluster, options.node, options.argv)


if __name__ == "__main__":
    sys.exit(main())
