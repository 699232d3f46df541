# SPDX-License-Identifier: Apache-2.0
"""Numeric security identities: reserved numbers, scopes and the label text that names them.

Numbers are upstream's (reserved 0-10, cluster 256-65535, node-local from 1 << 24). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

MIN_CLUSTER_IDENTITY = 256
MAX_CLUSTER_IDENTITY = 65535
LOCAL_SCOPE = 1 << 24
# Annotation of a CiliumIdentity that the operator saw unused and will delete; its value is when.
HEARTBEAT_MARK = "io.cilium.heartbeat"


class Reserved(IntEnum):
    """Identities with a fixed number; the member's label is `reserved:<name>`."""

    UNKNOWN = 0
    HOST = 1
    WORLD = 2
    UNMANAGED = 3
    HEALTH = 4
    INIT = 5
    REMOTE_NODE = 6
    KUBE_APISERVER = 7
    INGRESS = 8
    WORLD_IPV4 = 9
    WORLD_IPV6 = 10

    @property
    def label(self) -> str:
        """The name after `reserved:` as users write it, for example `remote-node`."""
        return self.name.lower().replace("_", "-")


def is_cluster_identity(number: int) -> bool:
    """Tell whether the number is allocated cluster-wide (a CiliumIdentity object)."""
    return MIN_CLUSTER_IDENTITY <= number <= MAX_CLUSTER_IDENTITY


def is_local_scope(number: int) -> bool:
    """Tell whether the number means something on its own node only; never sent in a VNI."""
    return number >= LOCAL_SCOPE


def canonical_key(labels: Mapping[str, str]) -> str:
    """Return the sorted `source:key=value;` text that stands for one label set."""
    return "".join(f"{key}={labels[key]};" for key in sorted(labels))
