# SPDX-License-Identifier: Apache-2.0
"""Tells the running programs which events to write into the ring, and how often."""

from __future__ import annotations

from collections.abc import Iterable

from cilium_agent.datapath.store import MapStore
from cilium_core.layouts.events import ConfigIndex, ConfigInfo, ConfigKey, EventType

ALL_EVENTS = (EventType.DROP, EventType.TRACE, EventType.POLICY_VERDICT)
TRACE_INTERVAL = 5  # seconds, upstream's monitor-aggregation-interval
FIN, SYN, RST = 0x01, 0x02, 0x04  # upstream's monitor-aggregation-flags


def report_events(
    store: MapStore,
    events: Iterable[EventType] = ALL_EVENTS,
    interval: int = TRACE_INTERVAL,
    tcp_flags: int = FIN | SYN | RST,
) -> None:
    """Have these events written from now on; none at all is silence and costs nothing.

    A connection's trace is written when it begins and ends, at the first sight of each of
    `tcp_flags` on a side, and every `interval` seconds while packets pass.
    """
    values = {
        ConfigKey.EVENTS: sum(1 << event for event in set(events)),
        ConfigKey.TRACE_INTERVAL: interval,
        ConfigKey.TRACE_FLAGS: tcp_flags,
    }
    store.config.upsert({ConfigIndex(int(key)): ConfigInfo(value) for key, value in values.items()})
