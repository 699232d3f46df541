# SPDX-License-Identifier: Apache-2.0
"""Statements about prefixes, made from Kubernetes objects. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.k8s.objects import SliceObject
from cilium_agent.nodes.own import INTERNAL_IP, ROUTER_IP
from cilium_agent.nodes.remote import addresses_of, tunnel_address
from cilium_core.addresses import Address, Network
from cilium_core.crds.models import CiliumEndpoint, CiliumNode
from cilium_core.identity import Reserved

Statements = dict[Network, Metadata]


def host_prefix(address: Address | str) -> Network:
    """Return the /32 or /128 of an address."""
    return ip_network(str(address))


def of_world(*, ipv4: bool, ipv6: bool) -> Statements:
    """Return the default rows: world by family when both are in use, plain world otherwise."""
    both = ipv4 and ipv6
    rows: Statements = {}
    if ipv4:
        number = Reserved.WORLD_IPV4 if both else Reserved.WORLD
        rows[ip_network("0.0.0.0/0")] = Metadata(Source.WORLD, int(number))
    if ipv6:
        number = Reserved.WORLD_IPV6 if both else Reserved.WORLD
        rows[ip_network("::/0")] = Metadata(Source.WORLD, int(number))
    return rows


def of_host(addresses: Iterable[Address]) -> Statements:
    """Return the rows of this node's own addresses."""
    said = Metadata(Source.NODE, int(Reserved.HOST))
    return {host_prefix(address): said for address in addresses}


def of_node(node: CiliumNode) -> Statements:
    """Return a remote node's rows: underlay addresses direct, its router's through the tunnel."""
    identity = int(Reserved.REMOTE_NODE)
    tunnel = tunnel_address(node)
    direct = Metadata(Source.NODE, identity)
    rows = {host_prefix(address): direct for address in addresses_of(node, INTERNAL_IP)}
    if tunnel is not None:
        through = Metadata(Source.NODE, identity, tunnel)
        rows |= {host_prefix(address): through for address in addresses_of(node, ROUTER_IP)}
    return rows


def of_endpoint(item: CiliumEndpoint, own_node: frozenset[str]) -> Statements:
    """Return a remote pod's rows; none for an endpoint without identity or of this node."""
    networking, identity = item.status.networking, item.status.identity
    if networking is None or identity is None or not identity.id or not networking.node:
        return {}
    if networking.node in own_node:
        return {}
    since = item.metadata.creation_timestamp
    said = Metadata(Source.POD, identity.id, ip_address(networking.node), since)
    texts = [text for pair in networking.addressing for text in (pair.ipv4, pair.ipv6) if text]
    return {host_prefix(text): said for text in texts}


def of_apiserver(item: SliceObject) -> Statements:
    """Return the rows of the API servers that one slice of default/kubernetes lists."""
    said = Metadata(Source.KUBE_APISERVER, int(Reserved.KUBE_APISERVER))
    return {
        host_prefix(address): said
        for endpoint in item.endpoints or []
        for address in endpoint.addresses
        if item.address_type in ("IPv4", "IPv6")
    }
