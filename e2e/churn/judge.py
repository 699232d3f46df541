# SPDX-License-Identifier: Apache-2.0
"""Compares the maps of all nodes with the API server's objects. Blocking."""

from __future__ import annotations

from e2e.churn import maps
from e2e.churn.truth import KINDS, Truth
from e2e.cluster import Cluster
from e2e.cluster.errors import CommandFailed
from e2e.kube import Kube


class Judge:
    """Compares every node with what the API server's objects make of it."""

    def __init__(self, cluster: Cluster, kube: Kube) -> None:
        self._cluster, self._kube = cluster, kube
        config = kube.json("-n", "kube-system", "get", "configmap", "cilium-config")["data"]
        self._name = config["cluster-name"]
        self.found: list[str] = []

    def agrees(self) -> bool:
        """Judge once; `found` has what differs."""
        objects = self._kube.json("get", ",".join(KINDS), "-A")["items"]
        truth = Truth(objects, self._name)
        self.found = truth.waits
        if not self.found:
            self.found = [text for node in self._cluster.nodes for text in self._of(node, truth)]
        return not self.found

    def _of(self, node: str, truth: Truth) -> list[str]:
        try:
            return truth.differences(node, maps.read(self._cluster, node))
        except CommandFailed as error:
            return [f"{node}: no agent answers: {error}"]
