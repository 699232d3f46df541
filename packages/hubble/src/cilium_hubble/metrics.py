# SPDX-License-Identifier: Apache-2.0
"""Hubble's metrics under upstream's names, and this process's own.

Counted per batch by column operations; the scrape, in a thread of its own, reads plain integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cilium_hubble.access.server import AccessRecords
from cilium_hubble.flowmetrics.all import FlowMetrics
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.flows.record import LostSource
from cilium_hubble.history.writer import History
from cilium_hubble.kernel.source import EventSource
from cilium_hubble.monitor.server import Monitor
from cilium_hubble.observer.service import Observer
from cilium_hubble.state.applying import Applier
from cilium_hubble.version import VERSION


class HubbleCollector(Collector):
    """Turns the daemon's state into metric families."""

    def __init__(
        self,
        flows: FlowMetrics,
        ingest: Ingest,
        source: EventSource,
        observer: Observer,
        monitor: Monitor,
        applier: Applier,
        records: AccessRecords,
        history: History | None = None,
    ) -> None:
        """Read these at each scrape."""
        self._history = history
        self._flows = flows
        self._ingest = ingest
        self._source = source
        self._observer = observer
        self._monitor = monitor
        self._applier = applier
        self._records = records

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield from self._flows.collect()
        yield self._lost()
        version = GaugeMetricFamily("hubble_version", "Version of hubble", labels=["version"])
        version.add_metric([VERSION], 1)
        yield version
        counters = {
            "hubble_ring_events_seen": ("Events taken out of the kernel's ring", self._source.seen),
            "hubble_unusable_access_records": (
                "Records of proxies that made no sense",
                self._ingest.unusable,
            ),
            "hubble_forgotten_requests": (
                "Texts of requests that gave way to newer ones",
                self._ingest.payloads.forgotten,
            ),
            "hubble_unknown_events": ("Events of types that are not known", self._ingest.unknown),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value=value)
        gauges = {
            "hubble_ring_bytes": ("Size of the kernel's ring", self._source.capacity),
            "hubble_request_bytes": ("Memory of requests' texts", self._ingest.payloads.bytes),
            "hubble_stored_flows": ("Flows that queries see", self._ingest.store.shown),
            "hubble_interned_parties": ("Distinct ends of flows held", len(self._ingest.parties)),
            "hubble_subscribers": ("Streams of flows being served", self._observer.subscribers),
            "hubble_monitor_clients": ("Clients of the monitor socket", self._monitor.clients),
            "hubble_node_state_revision": (
                "Revision of the agent's state that is applied",
                self._applier.revision,
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        if self._history is not None:
            yield from _of_history(self._history)

    def _lost(self) -> Metric:
        family = CounterMetricFamily("hubble_lost_events", "Events lost", labels=["source"])
        family.add_metric([_LOST[LostSource.KERNEL_RING]], self._source.lost_ever)
        family.add_metric([_LOST[LostSource.FLOW_STORE]], self._observer.missed)
        family.add_metric([_LOST[LostSource.PROXIES]], self._records.lost)
        return family


def _of_history(history: History) -> Iterator[Metric]:
    total = history.total
    yield GaugeMetricFamily("hubble_history_flows", "Flows on disk", value=total.flows)
    text = "What the flow history takes on disk"
    yield GaugeMetricFamily("hubble_history_bytes", text, value=total.bytes)
    text = "Flows and marks of lost events that were not written to the history"
    dropped = CounterMetricFamily("hubble_history_dropped", text, labels=["reason"])
    for reason, count in history.dropped.items():
        dropped.add_metric([reason], count)
    yield dropped


_LOST = {
    LostSource.KERNEL_RING: "perf_event_ring_buffer",
    LostSource.FLOW_STORE: "hubble_ring_buffer",
    LostSource.PROXIES: "observer_events_queue",
}


def serve(address: tuple[str, int], collector: HubbleCollector) -> Any:
    """Serve /metrics from a thread; return what `shutdown` ends it."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    server, _thread = start_http_server(address[1], address[0], registry)
    return server
