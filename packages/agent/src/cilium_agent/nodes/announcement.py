# SPDX-License-Identifier: Apache-2.0
"""What a node's agent says in its CiliumNode, and the patch that makes an object say it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cilium_agent.k8s.objects import NodeObject
from cilium_agent.nodes.fields import ROUTER_IP, announced
from cilium_core.addresses import Address
from cilium_core.crds.models import (
    CiliumNode,
    CiliumNodeSpec,
    EncryptionSpec,
    NodeAddress,
    OwnerReference,
)


def spec_of(node: NodeObject, routers: Sequence[Address | None]) -> CiliumNodeSpec:
    """Return the agent's share of CiliumNode.spec."""
    entries = [NodeAddress(type=kind, ip=str(address)) for kind, address in announced(node)]
    entries += [NodeAddress(type=ROUTER_IP, ip=str(address)) for address in routers if address]
    return CiliumNodeSpec(
        addresses=entries,
        bootid=node.status.node_info.boot_id,
        encryption=EncryptionSpec(key=0),
    )


def owners_of(found: Sequence[OwnerReference], node: NodeObject) -> list[OwnerReference]:
    """Return the owners that the object shall have: this Node, and whoever is no Node."""
    own = OwnerReference(
        api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid
    )
    return [own, *(owner for owner in found if owner.kind != "Node")]


def change_of(found: CiliumNode, wanted: CiliumNodeSpec, node: NodeObject) -> dict[str, Any]:
    """Return the merge patch that makes the agent's share of `found` right, empty for none.

    Owners are a list, which a merge patch replaces whole: the patch is then for this
    version of the object only.
    """
    change: dict[str, Any] = {}
    spec = found.spec
    if (spec.addresses, spec.bootid) != (wanted.addresses, wanted.bootid) or (
        spec.encryption != wanted.encryption
    ):
        change["spec"] = share_of(wanted)
    owners = owners_of(found.metadata.owner_references, node)
    if found.metadata.owner_references != owners:
        change["metadata"] = {
            "resourceVersion": found.metadata.resource_version,
            "ownerReferences": msgspec.to_builtins(owners),
        }
    return change


def share_of(spec: CiliumNodeSpec) -> dict[str, Any]:
    """Return the agent's fields as JSON, those with a default written out."""
    return {
        "addresses": msgspec.to_builtins(spec.addresses),
        "bootid": spec.bootid,
        "encryption": {"key": spec.encryption.key if spec.encryption else 0},
    }
