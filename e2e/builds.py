# SPDX-License-Identifier: Apache-2.0
"""Restarts what runs an older build of its image: on a cluster that is used again, an image may
have changed under the same name, which neither Helm nor Kubernetes notices.

Blocking; asks containerd on each node which build a name stands for there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

_CTR = ("ctr", "-n", "k8s.io")
_BUILT = "localhost/"  # images that were built here; others never change under their name
_OWNERS = {"DaemonSet": "daemonset", "ReplicaSet": "deployment"}


class Nodes(Protocol):
    """The part of a cluster that this module needs."""

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes."""

    def kubectl(self, *args: str) -> str:
        """Run kubectl and return its output; an error raises with what kubectl said."""

    def node_exec(self, node: str, argv: Sequence[str]) -> str:
        """Run a command on a node and return its output."""


def restart_outdated(cluster: Nodes, namespace: str) -> list[str]:
    """Restart the workloads of a namespace with pods of an older build; their names."""
    pods = json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    images = {node: _builds(cluster, node) for node in cluster.nodes}
    found = outdated(pods, images)
    for workload in found:
        cluster.kubectl("-n", namespace, "rollout", "restart", workload)
    return found


def _builds(cluster: Nodes, node: str) -> dict[str, str]:
    digests = image_digests(cluster.node_exec(node, [*_CTR, "images", "ls"]))
    found = {}
    for name, digest in digests.items():
        if name.startswith(_BUILT):
            manifest = json.loads(cluster.node_exec(node, [*_CTR, "content", "get", digest]))
            found[name] = manifest.get("config", {}).get("digest", "")
    return found


def image_digests(listed: str) -> dict[str, str]:
    """The digest of each reference that `ctr images ls` lists. Pure."""
    rows = (line.split() for line in listed.splitlines()[1:] if line)
    return {row[0]: row[2] for row in rows}


def outdated(
    pods: Iterable[Mapping[str, Any]], builds: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """The workloads (`kind/name`) of pods that run another build than their node has. Pure.

    `builds` are the digests of configurations, by which Kubernetes knows images, by node and name.
    """
    found = set()
    for pod in pods:
        held = builds.get(pod["spec"].get("nodeName", ""), {})
        for status in pod["status"].get("containerStatuses", []):
            present, running = held.get(status["image"]), status["imageID"]
            if present and running and running != present:
                found |= set(_workloads(pod))
    return sorted(found)


def _workloads(pod: Mapping[str, Any]) -> Iterable[str]:
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner["kind"] in _OWNERS:
            name = owner["name"]
            if owner["kind"] == "ReplicaSet":
                name = name.rpartition("-")[0]
            yield f"{_OWNERS[owner['kind']]}/{name}"
