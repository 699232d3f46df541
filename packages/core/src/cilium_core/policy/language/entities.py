# SPDX-License-Identifier: Apache-2.0
"""Entities: names for peers that are no endpoints of their own, as selectors. Pure."""

from __future__ import annotations

from cilium_core.identity import Reserved
from cilium_core.labels import CLUSTER
from cilium_core.policy.language.fields import Field
from cilium_core.policy.language.selectors import equals, exists, selector
from cilium_core.policy.rules import Selector

_CLUSTER_KEY = f"k8s:{CLUSTER}"

# What the label `reserved:<name>` is for, in each entity but all, cluster and cluster-mesh.
_RESERVED = {
    "world": (Reserved.WORLD, Reserved.WORLD_IPV4, Reserved.WORLD_IPV6),
    "host": (Reserved.HOST,),
    "init": (Reserved.INIT,),
    "ingress": (Reserved.INGRESS,),
    "unmanaged": (Reserved.UNMANAGED,),
    "remote-node": (Reserved.REMOTE_NODE,),
    "health": (Reserved.HEALTH,),
    "kube-apiserver": (Reserved.KUBE_APISERVER,),
    "world-ipv4": (Reserved.WORLD_IPV4,),
    "world-ipv6": (Reserved.WORLD_IPV6,),
}
# Inside a cluster without a label that says so.
_INSIDE = (
    Reserved.HOST,
    Reserved.REMOTE_NODE,
    Reserved.INIT,
    Reserved.INGRESS,
    Reserved.HEALTH,
    Reserved.UNMANAGED,
    Reserved.KUBE_APISERVER,
)
ENTITIES = ("all", "cluster", "cluster-mesh", *_RESERVED, "none")
EVERYTHING = Selector()
NOBODY = selector(exists("reserved:none"))


def entity(field: Field, cluster: str) -> tuple[Selector, ...]:
    """Return the selectors of one entity; `cluster` is the name of this cluster."""
    match field.choice(ENTITIES):
        case None:
            return ()
        case "all":
            return (EVERYTHING,)
        case "none":
            return (NOBODY,)
        case "cluster":
            return (*map(reserved, _INSIDE), selector(equals(_CLUSTER_KEY, cluster)))
        case "cluster-mesh":
            return (*map(reserved, _INSIDE), selector(exists(_CLUSTER_KEY)))
        case name:
            return tuple(map(reserved, _RESERVED[name]))


def reserved(identity: Reserved) -> Selector:
    """Return the selector of whatever carries the label of a reserved identity."""
    return selector(exists(f"reserved:{identity.label}"))
