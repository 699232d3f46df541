# SPDX-License-Identifier: Apache-2.0
"""Relay's metrics: connections under upstream's name, and what went through. Read at the scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cilium_core.proto import relay_pb2
from cilium_hubble.relay.service import Relay

_STATES = {
    relay_pb2.NODE_CONNECTED: "READY",
    relay_pb2.NODE_UNAVAILABLE: "TRANSIENT_FAILURE",
    relay_pb2.UNKNOWN_NODE_STATE: "CONNECTING",
}


class RelayCollector(Collector):
    """Turns the relay's state into metric families."""

    def __init__(self, relay: Relay) -> None:
        """Read it at each scrape, in the server's thread: plain values only."""
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        states = Counter(node.state for node in list(self._relay.pool.nodes.values()))
        peers = GaugeMetricFamily(
            "hubble_relay_pool_peer_connection_status",
            "Connections to nodes by state",
            labels=["status"],
        )
        for state, word in _STATES.items():
            peers.add_metric([word], states[state])
        yield peers
        yield CounterMetricFamily(
            "hubble_relay_flows_total", "Flows and events sent to clients", self._relay.flows
        )
        yield CounterMetricFamily(
            "hubble_relay_late_flows_total",
            "Flows sent after later ones, of requests that have ended",
            self._relay.late,
        )
        yield GaugeMetricFamily(
            "hubble_relay_subscribers", "GetFlows streams", self._relay.subscribers
        )


def serve(address: tuple[str, int], relay: Relay) -> Any:
    """Serve /metrics in a thread of its own; the server, to be shut down."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(RelayCollector(relay))
    host, port = address
    server, _ = start_http_server(port, host, registry)
    return server
