# SPDX-License-Identifier: Apache-2.0
"""The agent's own devices: the pair cilium_host/cilium_net and the tunnel device cilium_vxlan.

Each function is netlink work for `netns.on_node`; all of them can be run again on a node that
has the devices already and then change only what differs, since traffic is flowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from pyroute2 import IPRoute

from cilium_agent.host import sysctl
from cilium_agent.host.errors import HostError
from cilium_agent.model import VXLAN_PORT

HOST = "cilium_host"
NET = "cilium_net"
VXLAN = "cilium_vxlan"
TUNNEL_OVERHEAD = {4: 50, 6: 70}
IFF_UP = 0x1
IFF_NOARP = 0x80
SCOPE_LINK = 253
IFA_F_NODAD = 0x02


@dataclass(frozen=True, slots=True)
class Underlay:
    """The device that carries the node's own addresses. `mtu` is the device's."""

    name: str
    ifindex: int
    mtu: int


def find_underlay(route: IPRoute, v4: IPv4Address | None, v6: IPv6Address | None) -> Underlay:
    """Return the device that has the node's address (the IPv4 one first).

    HostError when no device has it: the Node object and this node disagree.
    """
    wanted = [str(address) for address in (v4, v6) if address is not None]
    for text in wanted:
        for message in route.get_addr():
            if text in (message.get_attr("IFA_LOCAL"), message.get_attr("IFA_ADDRESS")):
                link = route.get_links(message["index"])[0]
                return Underlay(
                    link.get_attr("IFLA_IFNAME"), link["index"], link.get_attr("IFLA_MTU")
                )
    raise HostError(
        f"no device of this node has the node address {' or '.join(wanted) or '(none given)'}; "
        "check the InternalIP of its Node object"
    )


def find(route: IPRoute, name: str) -> dict[str, int | str] | None:
    """Return index, flags, mtu, mac and kind of a device, None when it does not exist."""
    found = route.link_lookup(ifname=name)
    if not found:
        return None
    link = route.get_links(found[0])[0]
    return {
        "index": link["index"],
        "flags": link["flags"],
        "mtu": link.get_attr("IFLA_MTU"),
        "mac": link.get_attr("IFLA_ADDRESS"),
        "kind": link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
    }


def ensure_pair(route: IPRoute, mtu: int, ipv4: bool, ipv6: bool) -> None:
    """Make cilium_host and cilium_net, up and without address resolution."""
    host, net = find(route, HOST), find(route, NET)
    if host is None or net is None:
        for present in (host, net):
            if present is not None:
                route.link("del", index=present["index"])
        route.link("add", ifname=HOST, kind="veth", mtu=mtu, peer={"ifname": NET, "mtu": mtu})
    for name in (HOST, NET):
        _settle(route, name, mtu, IFF_UP | IFF_NOARP, ipv4, ipv6)


def ensure_vxlan(route: IPRoute, mtu: int, ipv4: bool, ipv6: bool) -> None:
    """Make cilium_vxlan: no fixed peer and no fixed VNI, programs give both for each packet."""
    present = find(route, VXLAN)
    if present is not None and not _is_external_vxlan(route, int(present["index"])):
        route.link("del", index=present["index"])
        present = None
    if present is None:
        route.link(
            "add",
            ifname=VXLAN,
            kind="vxlan",
            mtu=mtu,
            vxlan_collect_metadata=1,
            vxlan_learning=0,
            vxlan_port=VXLAN_PORT,
        )
    _settle(route, VXLAN, mtu, IFF_UP, ipv4, ipv6)


def ensure_addresses(
    route: IPRoute, device: str, wanted: set[IPv4Interface | IPv6Interface]
) -> None:
    """Make the device hold these addresses and no other global ones."""
    index = route.link_lookup(ifname=device)[0]
    held = addresses_of(route, device)
    for entry in sorted(wanted - held, key=str):
        v6 = entry.version == 6
        route.addr(
            "replace",
            index=index,
            address=str(entry.ip),
            prefixlen=entry.network.prefixlen,
            scope=0 if v6 else SCOPE_LINK,
            **({"flags": IFA_F_NODAD} if v6 else {}),
        )
    for entry in sorted(held - wanted, key=str):
        route.addr("del", index=index, address=str(entry.ip), prefixlen=entry.network.prefixlen)


def addresses_of(route: IPRoute, device: str) -> set[IPv4Interface | IPv6Interface]:
    """Return the device's addresses, link-local IPv6 left out; empty without the device."""
    found = route.link_lookup(ifname=device)
    if not found:
        return set()
    held: set[IPv4Interface | IPv6Interface] = set()
    for message in route.get_addr(index=found[0]):
        text = f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        entry = IPv6Interface(text) if ":" in text else IPv4Interface(text)
        if not (entry.version == 6 and entry.is_link_local):
            held.add(entry)
    return held


def remove(route: IPRoute, names: tuple[str, ...] = (HOST, VXLAN)) -> None:
    """Delete devices that exist; cilium_net goes with its peer."""
    for name in names:
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)


def _settle(route: IPRoute, name: str, mtu: int, flags: int, ipv4: bool, ipv6: bool) -> None:
    present = find(route, name)
    if present is None:
        raise HostError(f"device {name} vanished while it was being set up")
    if present["mtu"] != mtu:
        route.link("set", index=present["index"], mtu=mtu)
    sysctl.write_all(sysctl.own_device(name, ipv4, ipv6))
    if int(present["flags"]) & flags != flags:
        route.link("set", index=present["index"], flags=flags, change=flags)


def _is_external_vxlan(route: IPRoute, index: int) -> bool:
    info = route.get_links(index)[0].get_attr("IFLA_LINKINFO")
    if info is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
        return False
    data = info.get_attr("IFLA_INFO_DATA")
    return bool(data.get_attr("IFLA_VXLAN_COLLECT_METADATA")) and (
        data.get_attr("IFLA_VXLAN_PORT") == VXLAN_PORT
    )
