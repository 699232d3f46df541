# SPDX-License-Identifier: Apache-2.0
"""What the agent's rooms tell each other: endpoints, pods, node addressing, datapath settings.

Plain values, no behaviour beyond what follows from their fields; safe to share between tasks
because they are frozen (an endpoint that changes is a new value).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cilium_core.labels import LabelSet

VXLAN_PORT = 8472  # upstream's, Linux's older default


class EndpointState(StrEnum):
    """Upstream's endpoint states, as tools print them."""

    CREATING = "creating"
    WAITING_FOR_IDENTITY = "waiting-for-identity"
    NOT_READY = "not-ready"
    REGENERATING = "regenerating"
    RESTORING = "restoring"
    READY = "ready"
    DISCONNECTING = "disconnecting"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Pod:
    """What the agent needs of a pod. `labels` are the pod's own, unfiltered, without a source."""

    namespace: str
    name: str
    uid: str
    node: str
    service_account: str
    labels: LabelSet
    host_network: bool = False
    phase: str = ""
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    named_ports: tuple[tuple[str, int, str], ...] = ()  # name, number, protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod's attachment: its addresses, its veth pair and its identity.

    `endpoint_id` is 1-65535 and stays the same over restarts. MACs are 6 bytes.
    """

    endpoint_id: int
    container_id: str
    interface: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    host_interface: str
    host_ifindex: int
    mac: bytes
    node_mac: bytes
    identity: int = 0
    labels: LabelSet = field(default_factory=dict)  # filtered, with source prefix
    state: EndpointState = EndpointState.CREATING


@dataclass(frozen=True, slots=True)
class NodeAddressing:
    """This node's pod CIDRs and the router address taken from each (cilium_host's)."""

    node_name: str
    node_v4: IPv4Address | None
    node_v6: IPv6Address | None
    pod_v4: IPv4Network | None
    pod_v6: IPv6Network | None
    router_v4: IPv4Address | None
    router_v6: IPv6Address | None


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """Another node: the underlay address to tunnel to, its own addresses, its pod CIDRs."""

    name: str
    tunnel: IPv4Address | IPv6Address
    addresses: tuple[IPv4Address | IPv6Address, ...]
    pod_cidrs: tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class DatapathSettings:
    """What the programs are compiled with; equal settings and sources mean no compilation."""

    host_ifindex: int  # cilium_host
    vxlan_ifindex: int  # cilium_vxlan
    host_mac: bytes
    node_netns_cookie: int
    mtu: int
    enable_ipv4: bool
    enable_ipv6: bool
