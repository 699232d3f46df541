# SPDX-License-Identifier: Apache-2.0
"""Routes that lead the node's own stack to pods: local and remote pod CIDRs through cilium_host.

Ours carry a protocol number of their own, so that what is there can be told from what others
made; `sync` writes only the difference. A remote CIDR's route carries the tunnel's MTU, which is
what the host's (and the proxy's) TCP takes its segment size from. Work for `netns.on_node`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute

from cilium_agent.host.devices import HOST, SCOPE_LINK
from cilium_agent.model import NodeAddressing, RemoteNode
from cilium_core.addresses import Address, Network

PROTOCOL = 0xC1
METRIC_V6 = 1024
MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class HostRoute:
    """One route over cilium_host. `mtu` 0 leaves it to the device."""

    destination: Network
    source: Address
    mtu: int


def wanted(
    addressing: NodeAddressing,
    remote: Iterable[RemoteNode],
    tunnel_mtu: int,
    outside: Iterable[Address] = (),
) -> set[HostRoute]:
    """Return the routes for this node's pod CIDRs and pods outside of them, and for remote nodes.

    What is of a family that this node does not have is left out: nothing here could send to it.
    """
    routes = set()
    routers: dict[int, Address] = {}
    for network, router in (
        (addressing.pod_v4, addressing.router_v4),
        (addressing.pod_v6, addressing.router_v6),
    ):
        if network is not None and router is not None:
            routers[router.version] = router
            routes.add(HostRoute(network, router, 0))
    for address in outside:
        if address.version in routers:
            routes.add(HostRoute(ip_network(str(address)), routers[address.version], 0))
    for node in remote:
        for cidr in node.pod_cidrs:
            if cidr.version in routers:
                routes.add(HostRoute(cidr, routers[cidr.version], tunnel_mtu))
    return routes


def present(route: IPRoute) -> set[HostRoute]:
    """Return the routes of ours that the node has."""
    found = route.link_lookup(ifname=HOST)
    if not found:
        return set()
    held = set()
    for family in (AF_INET, AF_INET6):
        for message in route.get_routes(family=family, oif=found[0], table=MAIN_TABLE):
            if message["proto"] == PROTOCOL:
                held.add(_parse(message))
    return held


def sync(route: IPRoute, routes: set[HostRoute], *, remove: bool = True) -> tuple[int, int]:
    """Make the node's routes of ours these. Returns how many were written and removed.

    Without `remove` routes that are not wanted stay.
    """
    held = present(route)
    index = route.link_lookup(ifname=HOST)[0]
    kept = {entry.destination for entry in routes}
    unwanted = held - routes if remove else set()
    stale = [entry for entry in unwanted if entry.destination not in kept]
    for entry in sorted(routes - held, key=str):
        route.route("replace", **_request(index, entry))
    for entry in sorted(stale, key=str):
        route.route("del", **_request(index, entry))
    return len(routes - held), len(stale)


def _request(index: int, entry: HostRoute) -> dict[str, Any]:
    request: dict[str, Any] = {
        "dst": str(entry.destination),
        "oif": index,
        "prefsrc": str(entry.source),
        "proto": PROTOCOL,
        "table": MAIN_TABLE,
    }
    if entry.destination.version == 4:
        request["scope"] = SCOPE_LINK
    else:
        request["family"] = AF_INET6
        request["priority"] = METRIC_V6
    if entry.mtu:
        request["metrics"] = {"mtu": entry.mtu}
    return request


def _parse(message: Any) -> HostRoute:
    default = "0.0.0.0" if message["family"] == AF_INET else "::"
    network = ip_network(f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}")
    assert isinstance(network, IPv4Network | IPv6Network)
    metrics = message.get_attr("RTA_METRICS")
    source = message.get_attr("RTA_PREFSRC") or default
    mtu = metrics.get_attr("RTAX_MTU") if metrics is not None else None
    return HostRoute(network, ip_network(source)[0], mtu or 0)
