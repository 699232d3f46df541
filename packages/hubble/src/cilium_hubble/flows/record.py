# SPDX-License-Identifier: Apache-2.0
"""One stored flow: what the kernel said, the wall clock, and numbers of interned values. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from cilium_core.layouts.events import EventType

REQUEST: Final = 129  # `type` of a request or response that a proxy saw; upstream's l7
LOST: Final = 0  # `type` of a row that tells of lost events; no kernel event has it


class Verdict(IntEnum):
    """Upstream's numbers (flow.Verdict)."""

    FORWARDED = 1
    DROPPED = 2
    ERROR = 3
    AUDIT = 4
    REDIRECTED = 5


class Reply(IntEnum):
    """Whether a packet answers; UNKNOWN where connection tracking was not asked or not told."""

    NO = 0
    YES = 1
    UNKNOWN = 2


class Application(IntEnum):
    """What a request is in: `subtype` of a REQUEST row."""

    OTHER = 0
    DNS = 1
    HTTP = 2
    KAFKA = 3


class LostSource(IntEnum):
    """Who lost events; upstream's numbers (flow.LostEventSource)."""

    KERNEL_RING = 1
    PROXIES = 2
    FLOW_STORE = 3


# `direction` is the connection's as its endpoint sees it: 1 ingress, 2 egress, 0 unknown.
# Numbers of interned values: 0 is nobody, no service, no rule. `time` and `until` are ns since
# the epoch. A LOST row has its count in `tx_packets`, the CPU in `endpoint_id`, the source in
# `subtype`, and was lost between `until` and `time`. A REQUEST row has an Application in `subtype`,
# whether it asks or answers (flow.L7FlowType) in `state` and its text under `payload`.
STORED = np.dtype(
    [
        ("time", "i8"),
        ("until", "i8"),
        ("tx_packets", "u8"),
        ("rx_packets", "u8"),
        ("payload", "u8"),
        ("source", "u1", (16,)),
        ("destination", "u1", (16,)),
        ("source_party", "u4"),
        ("destination_party", "u4"),
        ("source_service", "u4"),
        ("destination_service", "u4"),
        ("source_names", "u4"),
        ("destination_names", "u4"),
        ("rules", "u4"),
        ("revision", "u4"),
        ("ifindex", "u4"),
        ("length", "u4"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("endpoint_id", "u2"),
        ("line", "u2"),
        ("proxy_port", "u2"),
        ("type", "u1"),
        ("subtype", "u1"),
        ("direction", "u1"),
        ("flags", "u1"),
        ("state", "u1"),
        ("match", "u1"),
        ("proto", "u1"),
        ("tcp_flags", "u1"),
        ("icmp_type", "u1"),
        ("icmp_code", "u1"),
        ("verdict", "u1"),
        ("reply", "u1"),
    ]
)

KNOWN_TYPES = tuple(int(kind) for kind in EventType)
