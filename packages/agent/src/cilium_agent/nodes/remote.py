# SPDX-License-Identifier: Apache-2.0
"""The other nodes as CiliumNodes tell of them. Pure functions on frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

import structlog

from cilium_agent.model import RemoteNode
from cilium_agent.nodes.own import INTERNAL_IP, ROUTER_IP
from cilium_core.addresses import Address, pack_address, pack_network
from cilium_core.crds.models import CiliumNode
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo

log = structlog.get_logger(__name__)


def addresses_of(node: CiliumNode, kind: str) -> list[Address]:
    """Return the node's addresses of one type, in order; text that is no address is left out."""
    found: list[Address] = []
    for entry in node.spec.addresses:
        if entry.type == kind:
            try:
                found.append(ip_address(entry.ip))
            except ValueError:
                log.warning("bad address", node=node.metadata.name, address=entry.ip)
    return found


def tunnel_address(node: CiliumNode, *, prefer_v6: bool = False) -> Address | None:
    """Return the underlay address that this node is tunnelled to, IPv4 first."""
    version = 6 if prefer_v6 else 4
    own = addresses_of(node, INTERNAL_IP)
    return next((a for a in own if a.version == version), own[0] if own else None)


def remote_node(node: CiliumNode) -> RemoteNode | None:
    """Return a node's view, None while it has no address or no pod CIDR."""
    tunnel = tunnel_address(node)
    if tunnel is None or not node.spec.ipam.pod_cidrs:
        return None
    return RemoteNode(
        name=node.metadata.name,
        tunnel=tunnel,
        addresses=tuple(addresses_of(node, INTERNAL_IP) + addresses_of(node, ROUTER_IP)),
        pod_cidrs=tuple(ip_network(text) for text in node.spec.ipam.pod_cidrs),
    )


def remote_nodes(nodes: Iterable[CiliumNode], own_name: str) -> list[RemoteNode]:
    """Return all nodes but this one, ordered by name."""
    views = [remote_node(node) for node in nodes if node.metadata.name != own_name]
    return sorted((view for view in views if view is not None), key=lambda view: view.name)


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
