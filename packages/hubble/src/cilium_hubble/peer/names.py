# SPDX-License-Identifier: Apache-2.0
"""Names of peers, and the names that their certificates are held against. Upstream's. Pure."""

from __future__ import annotations

DOMAIN = "hubble-grpc.cilium.io"
DEFAULT_CLUSTER = "default"
PEER_SERVICE = "hubble-peer"


def peer_name(node: str, cluster: str) -> str:
    """Return what a node is called: `cluster/node`, or `node` in the cluster named `default`."""
    return node if cluster in ("", DEFAULT_CLUSTER) else f"{cluster}/{node}"


def server_name(node: str, cluster: str) -> str:
    """Return the TLS name of a node's server: one label each, so that one wildcard fits all."""
    words = (node, cluster or DEFAULT_CLUSTER)
    return ".".join([*(word.replace(".", "-") for word in words), DOMAIN])


def target(address: str, port: int) -> str:
    """Return what a client dials."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
