# SPDX-License-Identifier: Apache-2.0
"""The record that the kernel writes into the event ring, 128 bytes, and what steers the ring.

The kernel never wakes the reader (a wake-up costs more than the event): it polls, some tens of
milliseconds apart.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

from cilium_core.layouts.record import U8, U16, U32, U64, Be16, Raw16, Record, record
from cilium_core.layouts.spec import MapKind, MapSpec, NoKey


class EventType(IntEnum):
    """Upstream's numbers of monitor events."""

    DROP = 1
    TRACE = 4
    POLICY_VERDICT = 5


class ObservationPoint(IntEnum):
    """Upstream's numbers in the kernel's events (0 is the way into an endpoint)."""

    TO_ENDPOINT = 0
    TO_PROXY = 1
    TO_HOST = 2
    TO_STACK = 3
    TO_OVERLAY = 4
    FROM_ENDPOINT = 5
    FROM_PROXY = 6
    FROM_HOST = 7
    FROM_STACK = 8
    FROM_OVERLAY = 9
    FROM_NETWORK = 10
    TO_NETWORK = 11


class TraceReason(IntEnum):
    """What connection tracking said of the packet (`Event.state`)."""

    UNKNOWN = 0
    NEW = 1
    ESTABLISHED = 2
    REPLY = 3
    RELATED = 4


class MatchType(IntEnum):
    """How specific the row and cell were that decided (`Event.match`); upstream's numbers."""

    NONE = 0
    L3_ONLY = 1
    L3_L4 = 2
    L4_ONLY = 3
    ALL = 4
    L3_PROTO = 5
    PROTO_ONLY = 6


class EventFlag(IntFlag):
    """Bits of `Event.flags`."""

    IPV6 = 1
    AUDIT = 2
    CLOSE = 4  # the connection ended with this packet
    FRAGMENT = 8


@record("event")
class Event(Record):
    """One thing that happened to one packet. `time` is the boot clock in ns.

    `subtype` is the drop reason (DROP), the observation point (TRACE) or the verdict's drop reason
    with 0 for allowed (POLICY_VERDICT). `endpoint_id` enforces or observes; addresses and ports
    are those on which policy was judged (behind services). `word` and `bits` are the peer sets
    that matched in the row `row_prefixlen` (0: no row was read). `ifindex` is where the packet
    goes (TRACE; 0: into the stack) or came in by (the others), `line` a drop's place in the C,
    `proxy_port` the rule set that the packet is led to (0: none).
    """

    time: U64
    type: U8
    subtype: U8
    direction: U8
    flags: U8
    state: U8
    match: U8
    proto: U8
    tcp_flags: U8
    source_identity: U32
    destination_identity: U32
    source: Raw16
    destination: Raw16
    sport: Be16
    dport: Be16
    endpoint_id: U16
    icmp_type: U8
    icmp_code: U8
    ifindex: U32
    length: U32
    policy: U32
    revision: U32
    bits: U64
    word: U32
    row_prefixlen: U32
    service_id: U32
    line: U16
    proxy_port: Be16
    tx_packets: U64
    rx_packets: U64
    pad2: U64 = 0


@record("event_lost_key")
class EventLostKey(Record):
    """A type of event (`EventType`)."""

    type: U32


@record("event_lost_info")
class EventLostInfo(Record):
    """How many events of the type found no room in the ring, on one CPU."""

    count: U64


class ConfigKey(IntEnum):
    """Places in the array of settings that programs read while they run; all 0 is silence."""

    EVENTS = 0  # bits by number of EventType: which are written
    TRACE_INTERVAL = 1  # seconds between two trace events of one side of a connection
    TRACE_FLAGS = 2  # TCP flags of which the first sight is reported
    GENERATION = 3  # of the tables that CPUs keep a while: another after every write


@record("config_key")
class ConfigIndex(Record):
    """A ConfigKey."""

    index: U32


@record("config_info")
class ConfigInfo(Record):
    """A setting's value."""

    value: U64


RING_BYTES = 4 << 20
EVENTS = MapSpec("cilium_events_v1", MapKind.RINGBUF, NoKey, Event, RING_BYTES)
EVENT_LOST = MapSpec("cilium_event_lost_v1", MapKind.PERCPU_ARRAY, EventLostKey, EventLostInfo, 16)
CONFIG = MapSpec("cilium_config_v1", MapKind.ARRAY, ConfigIndex, ConfigInfo, 16)

EVENT_MAPS: tuple[MapSpec[Any, Any], ...] = (EVENTS, EVENT_LOST, CONFIG)
