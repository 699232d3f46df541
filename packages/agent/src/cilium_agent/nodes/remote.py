# SPDX-License-Identifier: Apache-2.0
"""The other nodes as CiliumNodes tell of them. Pure functions on frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cilium_agent.model import RemoteNode
from cilium_agent.nodes.fields import (
    INTERNAL_IP,
    ROUTER_IP,
    Problems,
    addresses_of,
    pod_cidrs,
)
from cilium_core.addresses import Address, pack_address, pack_network
from cilium_core.crds.models import CiliumNode
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo


def tunnel_address(node: CiliumNode, *, prefer_v6: bool = False) -> Address | None:
    """Return the underlay address that this node is tunnelled to, IPv4 first."""
    version = 6 if prefer_v6 else 4
    own = addresses_of(node, INTERNAL_IP)
    return next((a for a in own if a.version == version), own[0] if own else None)


def remote_node(node: CiliumNode, problems: Problems | None = None) -> RemoteNode | None:
    """Return a node's view, None while it has no address or no pod CIDR that can be used."""
    own = addresses_of(node, INTERNAL_IP, problems)
    routers = addresses_of(node, ROUTER_IP, problems)
    cidrs = pod_cidrs(node.spec.ipam.pod_cidrs, problems)
    tunnel = tunnel_address(node)
    if tunnel is None or not cidrs:
        return None
    return RemoteNode(
        name=node.metadata.name,
        tunnel=tunnel,
        addresses=tuple(own + routers),
        pod_cidrs=tuple(cidrs),
    )


def tunnel_rows(
    nodes: Iterable[RemoteNode], held: Mapping[IpcacheKey, TunnelInfo]
) -> dict[IpcacheKey, TunnelInfo]:
    """Return the tunnel table: pod CIDR to the node that owns it.

    A node keeps the number that `held` (the kernel's rows) has for its address; a new one gets
    the next free number.
    """
    numbers = {info.node: info.node_id for info in held.values()}
    rows: dict[IpcacheKey, TunnelInfo] = {}
    for node in nodes:
        packed = pack_address(node.tunnel)
        number = numbers.setdefault(packed, max(numbers.values(), default=0) + 1)
        info = TunnelInfo(packed, number)
        rows.update({IpcacheKey(*pack_network(cidr)): info for cidr in node.pod_cidrs})
    return rows
