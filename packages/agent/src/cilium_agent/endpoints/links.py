# SPDX-License-Identifier: Apache-2.0
"""Pods' veth pairs: made, addressed inside the pod's namespace, checked and removed.

A host-side link carries an alias that says whose it is, so that endpoints can be rebuilt without
the endpoint file. Each call is one piece of netlink work off the event loop (see `host.netns`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import structlog
from pyroute2 import IPRoute, NetlinkError

from cilium_agent.endpoints.alias import alias_of, is_marked
from cilium_agent.endpoints.attachment import is_host_interface
from cilium_agent.endpoints.errors import AttachRefused
from cilium_agent.host import sysctl
from cilium_agent.host.errors import LinkError, NetnsError
from cilium_agent.host.netns import in_netns, is_own_netns, on_node, open_netns
from cilium_agent.model import Endpoint

log = structlog.get_logger(__name__)
EEXIST = 17
ENODEV = 19
SCOPE_LINK = 253
IFA_F_NODAD = 0x02
NUD_PERMANENT = 0x80
AF_INET = 2
AF_INET6 = 10


@dataclass(frozen=True, slots=True)
class Made:
    """A new pair: the host side's index and both MACs (6 bytes)."""

    host_ifindex: int
    mac: bytes
    node_mac: bytes


@dataclass(frozen=True, slots=True)
class HostLink:
    """A link that is named like a pod's host side; `alias` is empty when it has none."""

    name: str
    ifindex: int
    mac: bytes
    alias: str

    @property
    def ours(self) -> bool:
        """Tell it from one that another CNI made."""
        return is_marked(self.alias)


@dataclass(frozen=True, slots=True)
class PodEnd:
    """The pod's end of a pair: its MAC (6 bytes) and the addresses it was given."""

    mac: bytes
    addresses: tuple[IPv4Address | IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How pods are connected. MTUs are bytes: of the pod's device, and of its routes."""

    device_mtu: int
    route_mtu: int
    router_v4: IPv4Address | None
    router_v6: IPv6Address | None


class PodLinks:
    """Makes and removes the pairs of this node's pods."""

    def __init__(self, settings: LinkSettings) -> None:
        """Connect pods as the settings say."""
        self.settings = settings

    async def create(self, endpoint: Endpoint) -> Made:
        """Make the pair, the pod's end directly in its namespace under its final name.

        A link of the same name is left over from an ADD that was cut short, and removed.
        AttachRefused names the request's field when the namespace or the interface cannot be used.
        """
        what = f"create {endpoint.host_interface} for {endpoint.pod_namespace}/{endpoint.pod_name}"
        return await on_node(what, lambda route: self._create(route, endpoint))

    async def configure(self, endpoint: Endpoint) -> None:
        """Give the pod's end its addresses, neighbours and routes and set it up."""
        what = f"configure {endpoint.interface} of {endpoint.pod_namespace}/{endpoint.pod_name}"
        await in_netns(endpoint.netns, what, lambda route: self._configure(route, endpoint))

    async def remove(self, host_interface: str, ifindex: int = 0) -> None:
        """Delete a pair by its host side; absent is not an error.

        With an index only that device, not another one that has its name now.
        """
        what = f"delete {host_interface}"
        await on_node(what, lambda route: _delete(route, host_interface, ifindex))

    async def problems(self, endpoint: Endpoint) -> list[str]:
        """Return what is missing of the endpoint's links, addresses and routes; empty when good."""
        found = await on_node("check links", lambda route: _host_problems(route, endpoint))
        try:
            return found + await in_netns(
                endpoint.netns, "check the pod", lambda route: self._pod_problems(route, endpoint)
            )
        except (NetnsError, LinkError) as error:
            return [*found, str(error)]

    async def present(self) -> list[HostLink]:
        """Return all links that are named like a pod's host side, another CNI's too."""
        return await on_node("list links", _present)

    async def alive(self, endpoint: Endpoint) -> bool:
        """Tell whether the endpoint's pair is still the one that was made.

        The kernel deletes a pair with the pod's namespace, so the host side proves both. A
        namespace path that cannot be opened from here proves nothing: the pod may be running.
        """
        if await on_node("check links", lambda route: _host_problems(route, endpoint)):
            return False
        try:
            mac = await in_netns(
                endpoint.netns, "find the pod's link", lambda r: _mac(r, endpoint.interface)
            )
        except NetnsError as error:
            log.warning("pod's namespace not seen", path=endpoint.netns, error=str(error))
            return True
        return mac == endpoint.mac

    async def pod_end(self, netns: str, interface: str, host_ifindex: int) -> PodEnd | None:
        """Return the pod's end of a pair; None when it is not found there.

        NetnsError when the namespace cannot be seen from here, which proves nothing.
        """
        return await in_netns(
            netns, "find the pod's end", lambda r: _pod_end(r, interface, host_ifindex)
        )

    def _create(self, route: IPRoute, endpoint: Endpoint) -> Made:
        try:
            if is_own_netns(endpoint.netns):
                raise AttachRefused("CNI_NETNS", f"{endpoint.netns} is the node's own namespace")
            netns = open_netns(endpoint.netns)
        except NetnsError as error:
            raise AttachRefused("CNI_NETNS", str(error)) from error
        try:
            mac, node_mac = _new_mac(), _new_mac()
            request: dict[str, Any] = {
                "ifname": endpoint.host_interface,
                "kind": "veth",
                "address": _text(node_mac),
                "mtu": self.settings.device_mtu,
                "peer": {
                    "ifname": endpoint.interface,
                    "address": _text(mac),
                    "mtu": self.settings.device_mtu,
                    "net_ns_fd": netns,
                },
            }
            _add(route, request, endpoint)
        finally:
            os.close(netns)
        index = route.link_lookup(ifname=endpoint.host_interface)[0]
        sysctl.write_all(
            sysctl.own_device(
                endpoint.host_interface, endpoint.ipv4 is not None, endpoint.ipv6 is not None
            )
        )
        route.link("set", index=index, state="up", ifalias=alias_of(endpoint))
        return Made(index, mac, node_mac)

    def _configure(self, route: IPRoute, endpoint: Endpoint) -> None:
        index = route.link_lookup(ifname=endpoint.interface)[0]
        if endpoint.ipv6 is not None:
            for name in ("all", "lo", endpoint.interface):
                sysctl.write(f"ipv6/conf/{name}/disable_ipv6", "0")
        route.link("set", index=1, state="up")
        route.link("set", index=index, state="up")
        for address, router in self._families(endpoint):
            self._configure_family(route, index, address, router, _text(endpoint.node_mac))

    def _configure_family(
        self,
        route: IPRoute,
        index: int,
        address: IPv4Address | IPv6Address,
        router: IPv4Address | IPv6Address,
        node_mac: str,
    ) -> None:
        v6 = address.version == 6
        bits = address.max_prefixlen
        family = AF_INET6 if v6 else AF_INET
        extra = {"flags": IFA_F_NODAD} if v6 else {}
        route.addr("add", index=index, address=str(address), prefixlen=bits, **extra)
        route.neigh(
            "replace",
            family=family,
            ifindex=index,
            dst=str(router),
            lladdr=node_mac,
            state=NUD_PERMANENT,
        )
        metrics = {"mtu": self.settings.route_mtu}
        near = {} if v6 else {"scope": SCOPE_LINK}
        route.route("add", dst=f"{router}/{bits}", oif=index, metrics=metrics, **near)
        default = "::/0" if v6 else "0.0.0.0/0"
        route.route("add", dst=default, gateway=str(router), oif=index, metrics=metrics)

    def _families(
        self, endpoint: Endpoint
    ) -> list[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]]:
        pairs: list[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]] = []
        if endpoint.ipv4 is not None and self.settings.router_v4 is not None:
            pairs.append((endpoint.ipv4, self.settings.router_v4))
        if endpoint.ipv6 is not None and self.settings.router_v6 is not None:
            pairs.append((endpoint.ipv6, self.settings.router_v6))
        return pairs

    def _pod_problems(self, route: IPRoute, endpoint: Endpoint) -> list[str]:
        where = f"in {endpoint.netns}"
        found = route.link_lookup(ifname=endpoint.interface)
        if not found:
            return [f"link {endpoint.interface} is missing {where}"]
        problems = []
        link = route.get_links(found[0])[0]
        if link.get_attr("IFLA_ADDRESS") != _text(endpoint.mac):
            problems.append(f"link {endpoint.interface} has another MAC {where}")
        if not link["flags"] & 1:
            problems.append(f"link {endpoint.interface} is down {where}")
        held = {m.get_attr("IFA_ADDRESS") for m in route.get_addr(index=found[0])}
        for address, router in self._families(endpoint):
            if str(address) not in held:
                problems.append(f"address {address} is missing {where}")
            family = AF_INET6 if address.version == 6 else AF_INET
            routes = list(route.get_routes(family=family, oif=found[0], table=254))
            if not any(
                m["dst_len"] == 0 and m.get_attr("RTA_GATEWAY") == str(router) for m in routes
            ):
                problems.append(f"default route via {router} is missing {where}")
        return problems


def _add(route: IPRoute, request: dict[str, Any], endpoint: Endpoint) -> None:
    try:
        route.link("add", **request)
    except NetlinkError as error:
        if error.code != EEXIST:
            raise
        _delete(route, endpoint.host_interface)
        try:
            route.link("add", **request)
        except NetlinkError as again:
            if again.code != EEXIST:
                raise
            raise AttachRefused(
                "CNI_IFNAME", f"{endpoint.interface} exists already in {endpoint.netns}"
            ) from again


def _delete(route: IPRoute, name: str, only: int = 0) -> None:
    for index in route.link_lookup(ifname=name):
        if only not in (0, index):
            continue
        try:
            route.link("del", index=index)
        except NetlinkError as error:
            if error.code != ENODEV:  # it went with its pod's namespace in between
                raise


def _host_problems(route: IPRoute, endpoint: Endpoint) -> list[str]:
    found = route.link_lookup(ifname=endpoint.host_interface)
    if not found:
        return [f"link {endpoint.host_interface} is missing on the node"]
    if endpoint.host_ifindex not in found:
        return [f"link {endpoint.host_interface} was replaced on the node"]
    if _mac(route, endpoint.host_interface) != endpoint.node_mac:
        return [f"link {endpoint.host_interface} has another MAC on the node"]
    return []


def _present(route: IPRoute) -> list[HostLink]:
    return [
        HostLink(
            link.get_attr("IFLA_IFNAME"),
            link["index"],
            bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", "")),
            link.get_attr("IFLA_IFALIAS") or "",
        )
        for link in route.get_links()
        if is_host_interface(link.get_attr("IFLA_IFNAME"))
    ]


def _pod_end(route: IPRoute, interface: str, host_ifindex: int) -> PodEnd | None:
    found = route.link_lookup(ifname=interface)
    mac = _mac(route, interface)
    if mac is None or route.get_links(found[0])[0].get_attr("IFLA_LINK") != host_ifindex:
        return None
    given = [
        ip_address(message.get_attr("IFA_ADDRESS"))
        for message in route.get_addr(index=found[0])
        if message["prefixlen"] in (32, 128)  # as we give them; not the kernel's own fe80::/64
    ]
    return PodEnd(mac, tuple(given))


def _mac(route: IPRoute, interface: str) -> bytes | None:
    found = route.link_lookup(ifname=interface)
    if not found:
        return None
    return bytes.fromhex(route.get_links(found[0])[0].get_attr("IFLA_ADDRESS").replace(":", ""))


def _new_mac() -> bytes:
    raw = bytearray(os.urandom(6))
    raw[0] = raw[0] & 0xFC | 0x02  # locally administered, not a group
    return bytes(raw)


def _text(mac: bytes) -> str:
    return mac.hex(":")
