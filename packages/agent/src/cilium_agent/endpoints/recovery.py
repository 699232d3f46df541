# SPDX-License-Identifier: Apache-2.0
"""Rebuilds endpoints whose row is lost from what the kernel holds: a link and its map rows.

The link says whose it is, the pinned map which addresses, MACs, number and identity it has; where
the map is lost too, the pod's own end tells all but the identity. Pure; `restore` brings the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import count

from cilium_agent.endpoints import alias
from cilium_agent.endpoints.links import HostLink, PodEnd
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.addresses import Address, unpack_address
from cilium_core.layouts.datapath import EndpointFlag, EndpointInfo, EndpointKey

NO_MAC = bytes(6)


def from_map(
    links: Iterable[HostLink], pinned: Mapping[EndpointKey, EndpointInfo]
) -> list[Endpoint]:
    """Return the endpoints of those links that the map has rows of, by number.

    The container id cannot be known; it is left empty, the host interface stands for it. A link
    whose alias was lost is an endpoint all the same: the map is ours, so its device is.
    """
    by_index = {link.ifindex: link for link in links}
    found: dict[int, Endpoint] = {}
    for key, info in pinned.items():
        link = by_index.get(info.ifindex)
        if link is None or info.flags & EndpointFlag.HOST or link.mac != bytes(info.node_mac):
            continue
        endpoint = found.get(info.ifindex) or replace(
            described(link),
            endpoint_id=info.endpoint_id,
            mac=bytes(info.mac),
            identity=info.identity,
            state=EndpointState.READY,
        )
        found[info.ifindex] = _with(endpoint, unpack_address(bytes(key.addr)))
    return sorted(found.values(), key=lambda endpoint: endpoint.endpoint_id)


def from_pod(link: HostLink, end: PodEnd) -> Endpoint:
    """Return the endpoint of a link that no map row speaks of; without a number and an identity."""
    endpoint = replace(described(link), mac=end.mac, state=EndpointState.READY)
    for address in end.addresses:
        endpoint = _with(endpoint, address)
    return endpoint


def described(link: HostLink) -> Endpoint:
    """Return what a link alone tells: an endpoint without number, addresses and identity."""
    said = alias.parse(link.alias)
    return Endpoint(
        endpoint_id=0,
        container_id="",
        interface=said.interface,
        netns=said.netns,
        pod_namespace=said.pod_namespace,
        pod_name=said.pod_name,
        pod_uid=said.pod_uid,
        ipv4=None,
        ipv6=None,
        host_interface=link.name,
        host_ifindex=link.ifindex,
        mac=NO_MAC,
        node_mac=link.mac,
        state=EndpointState.DISCONNECTING,
    )


def numbered(rebuilt: Iterable[Endpoint], taken: Iterable[int]) -> list[Endpoint]:
    """Give those a free number that have none or one that is taken; the others keep theirs."""
    used = {0, *taken}
    kept: list[Endpoint] = []
    others: list[Endpoint] = []
    for endpoint in rebuilt:
        (others if endpoint.endpoint_id in used else kept).append(endpoint)
        used.add(endpoint.endpoint_id)
    free = (number for number in count(1) if number not in used)
    return kept + [replace(endpoint, endpoint_id=next(free)) for endpoint in others]


def _with(endpoint: Endpoint, address: Address) -> Endpoint:
    if isinstance(address, IPv4Address):
        return replace(endpoint, ipv4=address)
    return replace(endpoint, ipv6=address)
