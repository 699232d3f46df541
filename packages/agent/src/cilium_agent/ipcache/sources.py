# SPDX-License-Identifier: Apache-2.0
"""Statements about prefixes, made from Kubernetes objects. Pure functions.

A field that cannot be used is left out and put on the caller's list of problems.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.k8s.objects import SliceObject
from cilium_agent.nodes.fields import EXTERNAL_IP, INTERNAL_IP, ROUTER_IP, Problems, addresses_of
from cilium_agent.nodes.remote import tunnel_address
from cilium_core.addresses import Address, Network, parse_address
from cilium_core.crds.models import CiliumEndpoint, CiliumNode
from cilium_core.errors import FieldError
from cilium_core.identity import Reserved, is_cluster_identity

Statements = dict[Network, Metadata]
# What an endpoint of another node may be besides a pod with labels.
_ENDPOINT_IDENTITIES = (Reserved.HEALTH, Reserved.INIT, Reserved.INGRESS)


def host_prefix(address: Address) -> Network:
    """Return the /32 or /128 of an address."""
    return ip_network(address)


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
    said = Metadata(Source.HOST, int(Reserved.HOST))
    return {host_prefix(address): said for address in addresses}


def of_node(node: CiliumNode) -> Statements:
    """Return a remote node's rows: its own addresses direct, its router's through the tunnel."""
    identity = int(Reserved.REMOTE_NODE)
    tunnel = tunnel_address(node)
    direct = Metadata(Source.NODE, identity)
    own = (*addresses_of(node, INTERNAL_IP), *addresses_of(node, EXTERNAL_IP))
    rows = {host_prefix(address): direct for address in own}
    if tunnel is not None:
        through = Metadata(Source.NODE, identity, tunnel)
        rows |= {host_prefix(address): through for address in addresses_of(node, ROUTER_IP)}
    return rows


def told_by(node: CiliumNode) -> frozenset[Network]:
    """Return all addresses that a node tells of, whatever their type."""
    kinds = {entry.type for entry in node.spec.addresses}
    return frozenset(host_prefix(a) for kind in kinds for a in addresses_of(node, kind))


def of_endpoint(
    item: CiliumEndpoint, own_node: frozenset[Address], problems: Problems | None = None
) -> Statements:
    """Return a remote pod's rows; none for an endpoint without identity or of this node."""
    networking, identity = item.status.networking, item.status.identity
    if networking is None or identity is None or not identity.id or not networking.node:
        return {}
    problems = problems if problems is not None else []
    where = "status.networking"
    nodes = _parsed([(f"{where}.node", networking.node)], problems)
    if not nodes or nodes[0] in own_node:
        return {}
    if not (is_cluster_identity(identity.id) or identity.id in _ENDPOINT_IDENTITIES):
        reason = f"{identity.id} is not the identity of an endpoint"
        problems.append(FieldError("status.identity.id", reason))
        return {}
    said = Metadata(Source.POD, identity.id, nodes[0], item.metadata.creation_timestamp)
    texts = [
        (f"{where}.addressing[{index}].{family}", text)
        for index, pair in enumerate(networking.addressing)
        for family, text in (("ipv4", pair.ipv4), ("ipv6", pair.ipv6))
        if text
    ]
    return {host_prefix(address): said for address in _parsed(texts, problems)}


def of_apiserver(item: SliceObject, problems: Problems | None = None) -> Statements:
    """Return the rows of the API servers that one slice of default/kubernetes lists.

    Only those on nodes count: one outside is a prefix of its own, which policy numbers.
    """
    said = Metadata(Source.KUBE_APISERVER, int(Reserved.KUBE_APISERVER))
    texts = [
        (f"endpoints[{index}].addresses", text)
        for index, endpoint in enumerate(item.endpoints or [])
        for text in endpoint.addresses
        if item.address_type in ("IPv4", "IPv6")
    ]
    found = _parsed(texts, problems if problems is not None else [])
    return {host_prefix(address): said for address in found}


def _parsed(fields: Iterable[tuple[str, str]], problems: Problems) -> list[Address]:
    """Return the addresses of (field, text) pairs; what is none goes on the list of problems."""
    found: list[Address] = []
    for field, text in fields:
        try:
            found.append(parse_address(field, text))
        except FieldError as error:
            problems.append(error)
    return found
