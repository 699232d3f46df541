# SPDX-License-Identifier: Apache-2.0
"""The node's network as one thing: set up at start, kept in step with the nodes, undone.

Every call can be repeated; what is in place already is not touched. Calls of one object are
serialised, and none blocks the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from socket import AF_INET, AF_INET6

import structlog
from pyroute2 import IPRoute

from cilium_agent.endpoints.alias import is_marked
from cilium_agent.endpoints.attachment import is_host_interface
from cilium_agent.host import devices, masquerade, redirects, routes, sysctl
from cilium_agent.host.errors import HostError
from cilium_agent.host.netns import node_netns_cookie, on_node
from cilium_agent.ipam.family import pick_router
from cilium_agent.model import NodeAddressing, RemoteNode
from cilium_core.addresses import Address, Network

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HostState:
    """What the rest of the agent needs to know of the node. MTUs are bytes of IP packets."""

    underlay: devices.Underlay
    host_ifindex: int
    host_mac: bytes
    vxlan_ifindex: int
    netns_cookie: int
    device_mtu: int  # of pod devices
    tunnel_mtu: int  # of pods' routes and of routes to remote pods


class HostNetwork:
    """Devices, sysctls, routes and masquerade of one node."""

    def __init__(
        self,
        *,
        run_dir: Path,
        native: Sequence[Network] = (),
        masquerade_ipv4: bool = True,
        masquerade_ipv6: bool = True,
        mtu: int = 0,
    ) -> None:
        """`native` networks can route pod addresses: no masquerade; `mtu` 0 detects it.

        What is changed of the kernel's settings is noted below `run_dir`, for `cleanup`.
        """
        self._record = run_dir / sysctl.RECORD
        self._native = tuple(native)
        self._masquerade_families = (masquerade_ipv4, masquerade_ipv6)
        self._mtu = mtu
        self._masquerade = masquerade.Masquerade()
        self._lock = asyncio.Lock()
        self._addressing: NodeAddressing | None = None
        self._remote: tuple[RemoteNode, ...] | None = None  # None until the cluster was listed
        self._outside: Callable[[], Iterable[Address]] = tuple
        self.state: HostState | None = None

    async def setup(self, addressing: NodeAddressing) -> HostState:
        """Put the node into the wanted state and return what it is. HostError says what cannot be.

        `addressing` holds the router addresses (see `router_addresses`).
        """
        async with self._lock:
            state = await on_node(
                "set up the node's devices", lambda r: self._devices(r, addressing)
            )
            self._addressing, self.state = addressing, state
            await self._write_routes()
            await self._masquerade.load(addressing, self._native, *self._masquerade_families)
            return state

    async def sync_routes(self, remote: Mapping[str, RemoteNode]) -> None:
        """Lead the pod CIDRs of these nodes, and of no others, through cilium_host."""
        async with self._lock:
            self._remote = tuple(remote.values())
            await self._write_routes()

    async def reach(self, outside: Callable[[], Iterable[Address]]) -> None:
        """Lead these single addresses to pods too: of pods that are older than the pod CIDRs.

        They are asked for again whenever routes are written.
        """
        async with self._lock:
            self._outside = outside
            await self._write_routes()

    async def repair(self) -> None:
        """Put back what somebody else changed: devices, addresses, routes, the nft table.

        A device that had to be made again has a new index: compare `state` before and after.
        """
        async with self._lock:
            addressing = self._known()
            self.state = await on_node(
                "repair the node's devices", lambda r: self._devices(r, addressing)
            )
            await self._write_routes()
            await self._masquerade.repair()

    async def _write_routes(self) -> None:
        if self.state is None:
            return  # `setup` writes them, the devices are not there yet
        wanted = routes.wanted(
            self._known(), self._remote or (), self.state.tunnel_mtu, self._outside()
        )
        # A restarted agent does not know the other nodes yet: their routes stay until it does.
        complete = self._remote is not None
        written, removed = await on_node(
            "write routes", lambda r: routes.sync(r, wanted, remove=complete)
        )
        if written or removed:
            log.info("routes synced", written=written, removed=removed, total=len(wanted))

    def _known(self) -> NodeAddressing:
        if self._addressing is None:
            raise HostError("the node's network is not set up yet; call setup first")
        return self._addressing

    def _devices(self, route: IPRoute, addressing: NodeAddressing) -> HostState:
        ipv4, ipv6 = addressing.router_v4 is not None, addressing.router_v6 is not None
        underlay = devices.find_underlay(route, addressing.node_v4, addressing.node_v6)
        mtu = self._mtu or underlay.mtu
        overhead = devices.TUNNEL_OVERHEAD[4 if addressing.node_v4 is not None else 6]
        sysctl.write_recorded(sysctl.forwarding(ipv4, ipv6, underlay.name), self._record)
        devices.ensure_pair(route, mtu, ipv4, ipv6)
        devices.ensure_vxlan(route, mtu, ipv4, ipv6)
        wanted: set[IPv4Interface | IPv6Interface] = set()
        if addressing.router_v4 is not None:
            wanted.add(IPv4Interface(f"{addressing.router_v4}/32"))
        if addressing.router_v6 is not None:
            wanted.add(IPv6Interface(f"{addressing.router_v6}/128"))
        devices.ensure_addresses(route, devices.HOST, wanted)
        sysctl.write_all(redirects.settings(ipv4))
        families = ((AF_INET, ipv4), (AF_INET6, ipv6))
        redirects.sync(route, [family for family, on in families if on])
        host, vxlan = devices.find(route, devices.HOST), devices.find(route, devices.VXLAN)
        if host is None or vxlan is None:
            raise HostError(f"{devices.HOST} or {devices.VXLAN} vanished while being set up")
        return HostState(
            underlay=underlay,
            host_ifindex=int(host["index"]),
            host_mac=bytes.fromhex(str(host["mac"]).replace(":", "")),
            vxlan_ifindex=int(vxlan["index"]),
            netns_cookie=node_netns_cookie(),
            device_mtu=mtu,
            tunnel_mtu=mtu - overhead,
        )


async def router_addresses(
    pod_v4: IPv4Network | None, pod_v6: IPv6Network | None, taken: Collection[Address] = ()
) -> tuple[Address | None, Address | None]:
    """Return the router address of each pod CIDR, the one in use before where there is one.

    `taken` are the addresses of pods that run (see `pick_router`).
    """
    held = await on_node("read cilium_host", lambda r: devices.addresses_of(r, devices.HOST))

    def pick(network: Network | None) -> Address | None:
        if network is None:
            return None
        inside = sorted(e.ip for e in held if e.version == network.version and e.ip in network)
        return pick_router(network, inside[0] if inside else None, taken)

    return pick(pod_v4), pick(pod_v6)


async def cleanup(run_dir: Path) -> None:
    """Take everything of ours off the node: pods' links, devices with their routes, the table.

    Reverse path checks that an agent with this run folder turned off are turned on again.
    """

    def links(route: IPRoute) -> None:
        for link in route.get_links():
            name = link.get_attr("IFLA_IFNAME")
            alias = link.get_attr("IFLA_IFALIAS") or ""
            if is_host_interface(name) and is_marked(alias):
                route.link("del", index=link["index"])
        redirects.remove(route)
        devices.remove(route)
        sysctl.restore(run_dir / sysctl.RECORD)

    await on_node("remove the node's devices", links)
    await masquerade.remove()
