# SPDX-License-Identifier: Apache-2.0
"""One stored flow: what the kernel said, the wall clock, and numbers of interned values. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from cilium_core.layouts.events import EventType

LOST: Final = 0  # `type` of a row that tells of lost events; no kernel event has it


class Verdict(IntEnum):
    """Upstream's numbers (flow.Verdict)."""

    FORWARDED = 1
    DROPPED = 2
    AUDIT = 4


class Reply(IntEnum):
    """Whether a packet answers; UNKNOWN where connection tracking was not asked or not told."""

    NO = 0
    YES = 1
    UNKNOWN = 2


class LostSource(IntEnum):
    """Who lost events; upstream's numbers (flow.LostEventSource)."""

    KERNEL_RING = 1
    FLOW_STORE = 3


# `direction` is the connection's as its endpoint sees it: 1 ingress, 2 egress, 0 unknown.
# Numbers of interned values: 0 is nobody, no service, no rule. `time` and `until` are ns since
# the epoch. A LOST row has its count in `tx_packets`, the CPU in `endpoint_id`, the source in
# `subtype`, and was lost between `until` and `time`.
STORED = np.dtype(
    [
        ("time", "i8"),
        ("until", "i8"),
        ("tx_packets", "u8"),
        ("rx_packets", "u8"),
        ("source", "u1", (16,)),
        ("destination", "u1", (16,)),
        ("source_party", "u4"),
        ("destination_party", "u4"),
        ("source_service", "u4"),
        ("destination_service", "u4"),
        ("rules", "u4"),
        ("revision", "u4"),
        ("ifindex", "u4"),
        ("length", "u4"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("endpoint_id", "u2"),
        ("line", "u2"),
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
