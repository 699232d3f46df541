# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of the cluster, in one place. Pure: nothing here touches the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
KUBERNETES_VERSION = "v1.36.3"
COREDNS_VERSION = "v1.15.0"
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:96::/112")
SERVICE_API = "10.96.0.1"
CLUSTER_DNS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
UNDERLAY_V4 = "172.30.0"
UNDERLAY_V6 = "fd00:30::"
API_PORT = 6443
FORWARD_PORT = 16443
AGENT_TAINT = "node.cilium.io/agent-not-ready"
MAX_NODES = 80


@dataclass(frozen=True)
class Host:
    """A machine of the underlay: a network namespace with one link to the switch."""

    name: str
    number: int

    @property
    def netns(self) -> str:
        return f"cpy-{self.name}"

    @property
    def netns_path(self) -> str:
        return f"/run/netns/{self.netns}"

    @property
    def ipv4(self) -> str:
        return f"{UNDERLAY_V4}.{self.number}"

    @property
    def ipv6(self) -> str:
        return f"{UNDERLAY_V6}{self.number}"


SWITCH = Host("switch", 1)
CONTROL_PLANE = Host("control-plane", 10)
OUTSIDE = Host("outside", 100)
API_URL = f"https://{CONTROL_PLANE.ipv4}:{API_PORT}"


def nodes(count: int) -> tuple[Host, ...]:
    """The first `count` nodes: node1 at .11 and ::11, and so on."""
    if not 1 <= count <= MAX_NODES:
        raise ClusterError(f"--nodes {count}: give a number between 1 and {MAX_NODES}")
    return tuple(Host(f"node{index}", 10 + index) for index in range(1, count + 1))


def state_folder() -> Path:
    """Where the running cluster keeps its state (`CPY_CLUSTER_STATE` or `.cluster`)."""
    return Path(os.environ.get("CPY_CLUSTER_STATE", REPOSITORY / ".cluster"))


def cache_folder() -> Path:
    """Where outputs that are expensive to build are kept, by content key."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cilium-python"
