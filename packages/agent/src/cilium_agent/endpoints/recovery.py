# SPDX-License-Identifier: Apache-2.0
"""Rebuilds endpoints without the endpoint file: links say whose, the pinned map says which address.

Pure; `restore` brings what the kernel holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from cilium_agent.endpoints.links import HostLink
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.addresses import unpack_address
from cilium_core.layouts.datapath import EndpointFlag, EndpointInfo, EndpointKey


def rebuild(
    links: Iterable[HostLink], pinned: Mapping[EndpointKey, EndpointInfo]
) -> list[Endpoint]:
    """Return the endpoints whose link has an alias and whose addresses the map holds.

    The container id cannot be known; it is left empty, the host interface stands for it.
    """
    described = {link.ifindex: link for link in links if link.alias}
    found: dict[int, Endpoint] = {}
    for key, info in pinned.items():
        link = described.get(info.ifindex)
        if link is None or info.flags & EndpointFlag.HOST or link.mac != bytes(info.node_mac):
            continue
        endpoint = found.get(info.ifindex) or _described(link, info)
        if endpoint is None:
            continue
        address = unpack_address(bytes(key.addr))
        if isinstance(address, IPv4Address):
            found[info.ifindex] = replace(endpoint, ipv4=address)
        else:
            found[info.ifindex] = replace(endpoint, ipv6=address)
    return sorted(found.values(), key=lambda endpoint: endpoint.endpoint_id)


def _described(link: HostLink, info: EndpointInfo) -> Endpoint | None:
    words = link.alias.split(" ")
    if len(words) != 4 or "/" not in words[3]:
        return None
    uid, interface, netns, pod = words
    namespace, _, name = pod.partition("/")
    return Endpoint(
        endpoint_id=info.endpoint_id,
        container_id="",
        interface=interface,
        netns=netns,
        pod_namespace=namespace,
        pod_name=name,
        pod_uid=uid,
        ipv4=None,
        ipv6=None,
        host_interface=link.name,
        host_ifindex=link.ifindex,
        mac=bytes(info.mac),
        node_mac=bytes(info.node_mac),
        identity=info.identity,
        state=EndpointState.READY,
    )
