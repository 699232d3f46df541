# SPDX-License-Identifier: Apache-2.0
"""Keys and values of the datapath's pinned maps; those that decide are in `layouts.policy`.

Addresses are 16 bytes, IPv4 mapped (`cilium_core.addresses`). A map's name carries its layout
version: a change of layout is a new name, so that an upgrade never misreads an old map.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

from cilium_core.addresses import UNSPECIFIED
from cilium_core.layouts.events import EVENT_MAPS
from cilium_core.layouts.policy import POLICY_MAPS
from cilium_core.layouts.record import U8, U16, U32, U64, Be16, Mac, Raw16, Record, record
from cilium_core.layouts.redirect import REDIRECT_MAPS
from cilium_core.layouts.spec import MapKind, MapSpec


class EndpointFlag(IntFlag):
    """Bits of `EndpointInfo.flags`."""

    HOST = 1  # the address is the node's own: deliver to the stack


class ServiceFlag(IntFlag):
    """Bits of `Service.flags`; upstream's meaning, our numbers."""

    AFFINITY = 1
    INTERNAL_LOCAL = 2
    EXTERNAL_LOCAL = 4


class BackendState(IntEnum):
    """State of a backend slot."""

    ACTIVE = 0
    TERMINATING = 1


@record("endpoint_key")
class EndpointKey(Record):
    """One local address."""

    addr: Raw16


@record("endpoint_info")
class EndpointInfo(Record):
    """Where a local address lives, who it is and what it enforces. `ifindex` is the host's veth.

    `addr` repeats the key, since values recycle. `policy` 0 is never enforced: all is allowed.
    Connections judged under another `revision` are judged again.
    """

    addr: Raw16
    ifindex: U32
    identity: U32
    endpoint_id: U16
    flags: U16
    mac: Mac  # of the pod's own device
    node_mac: Mac  # of the host-side device
    policy: U32 = 0
    revision: U32 = 0


@record("ipcache_key")
class IpcacheKey(Record):
    """A prefix; `prefixlen` counts 128-bit terms (IPv4 /32 is 128)."""

    prefixlen: U32
    addr: Raw16


@record("ipcache_info")
class IpcacheInfo(Record):
    """Identity behind a prefix and the node that hosts it (`tunnel` all zero: none)."""

    identity: U32
    flags: U32 = 0
    tunnel: Raw16 = UNSPECIFIED


@record("tunnel_info")
class TunnelInfo(Record):
    """The node that owns a pod CIDR; the key is an IpcacheKey."""

    node: Raw16
    node_id: U32
    pad: U32 = 0


@record("service_key")
class ServiceKey(Record):
    """A service frontend. `scope` 0 is external, 1 internal."""

    addr: Raw16
    port: Be16
    proto: U8
    scope: U8 = 0


@record("service_info")
class ServiceInfo(Record):
    """What a frontend resolves to: `count` slots numbered from 0 under `service_id`."""

    service_id: U32
    count: U32
    flags: U32 = 0
    affinity_seconds: U32 = 0


@record("slot_key")
class SlotKey(Record):
    """One backend slot of a service."""

    service_id: U32
    slot: U32


@record("slot_info")
class SlotInfo(Record):
    """The backend in a slot; `service_id` repeated, since hash values are recycled."""

    backend_id: U32
    service_id: U32


@record("backend_key")
class BackendKey(Record):
    """A backend's number."""

    backend_id: U32


@record("backend_info")
class BackendInfo(Record):
    """Where a backend listens."""

    addr: Raw16
    port: Be16
    proto: U8
    state: U8 = 0
    backend_id: U32 = 0  # its own key, re-checked after reading


@record("reverse_key")
class ReverseKey(Record):
    """A translated socket: its cookie and the backend that it was sent to."""

    cookie: U64
    addr: Raw16
    port: Be16
    proto: U16
    pad: U32 = 0


@record("reverse_info")
class ReverseInfo(Record):
    """The frontend that the socket's owner believes in."""

    addr: Raw16
    port: Be16
    pad: U16
    service_id: U32


class TranslationFlag(IntFlag):
    """Bits of `TranslationInfo.flags`."""

    SOURCE = 1  # a reply: the address replaces the packet's source, else its destination
    HAIRPIN = 2  # a pod's reply to itself, on its way back from the service's address


@record("translation_key")
class TranslationKey(Record):
    """The tuple, as it arrives, of a flow that is translated per packet."""

    saddr: Raw16
    daddr: Raw16
    sport: Be16
    dport: Be16
    proto: U8
    pad: U8 = 0
    pad2: U16 = 0


@record("translation_info")
class TranslationInfo(Record):
    """The address and port to write, and the service and backend that they came from."""

    addr: Raw16
    port: Be16
    flags: U16
    service_id: U32
    backend_id: U32
    pad: U32 = 0


@record("metrics_key")
class MetricsKey(Record):
    """Counter of one reason (0 forwarded, >= 130 drop codes) in one direction (1 in, 2 out).

    The packed key, read as a little-endian number, is the index into a per-CPU array.
    """

    reason: U8
    direction: U8
    pad: U16 = 0


@record("metrics_info")
class MetricsInfo(Record):
    """Packets and bytes, one per CPU."""

    count: U64
    bytes: U64


ENDPOINTS = MapSpec("cilium_lxc_v2", MapKind.HASH, EndpointKey, EndpointInfo, 65536)
IPCACHE = MapSpec("cilium_ipcache_v1", MapKind.LPM_TRIE, IpcacheKey, IpcacheInfo, 512000)
TUNNELS = MapSpec("cilium_tunnel_v1", MapKind.LPM_TRIE, IpcacheKey, TunnelInfo, 65536)
SERVICES = MapSpec(
    "cilium_lb_services_v1", MapKind.HASH, ServiceKey, ServiceInfo, 65536, sizable=True
)
SLOTS = MapSpec("cilium_lb_slots_v1", MapKind.HASH, SlotKey, SlotInfo, 262144, sizable=True)
BACKENDS = MapSpec(
    "cilium_lb_backends_v1", MapKind.HASH, BackendKey, BackendInfo, 65536, sizable=True
)
REVERSE = MapSpec("cilium_lb_reverse_sk_v1", MapKind.LRU_HASH, ReverseKey, ReverseInfo, 131072)
TRANSLATIONS = MapSpec(
    "cilium_lb_translations_v1", MapKind.LRU_HASH, TranslationKey, TranslationInfo, 131072
)
METRICS = MapSpec("cilium_metrics_v1", MapKind.PERCPU_ARRAY, MetricsKey, MetricsInfo, 1024)

ALL_MAPS: tuple[MapSpec[Any, Any], ...] = (
    ENDPOINTS,
    IPCACHE,
    TUNNELS,
    SERVICES,
    SLOTS,
    BACKENDS,
    REVERSE,
    TRANSLATIONS,
    METRICS,
    *POLICY_MAPS,
    *REDIRECT_MAPS,
    *EVENT_MAPS,
)
