# SPDX-License-Identifier: Apache-2.0
"""The controller's metrics, under upstream's names where it has them.

The scrape runs in a thread of its own and reads plain integers; records are counted per batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cilium_core.proto import access_pb2, flow_pb2
from cilium_proxy.access.buffer import Buffer
from cilium_proxy.controller import Controller
from cilium_proxy.following import Follower
from cilium_proxy.xds.server import Discovery

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RULES = {flow_pb2.FORWARDED: "forwarded", flow_pb2.DROPPED: "denied", flow_pb2.ERROR: "error"}


class Counts:
    """What records add up to, and how long rule sets took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the histograms."""
        self.requests: Counter[str] = Counter()
        replies = Histogram(
            "cilium_proxy_upstream_reply_seconds",
            "Time to the first byte of a response",
            ["error", "protocol_l7", "scope"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._replies = {
            failed: replies.labels(str(failed).lower(), "http", "total") for failed in (True, False)
        }
        self.settled = Histogram(
            "cilium_proxy_rule_set_update_seconds",
            "Time from a rule set's arrival until it is in force",
            buckets=_SECONDS,
            registry=registry,
        )

    def counted(self, records: Iterable[access_pb2.Record]) -> Iterator[access_pb2.Record]:
        """Yield the records, counting them."""
        for record in records:
            if record.l7.type == flow_pb2.REQUEST:
                self.requests["received"] += 1
                self.requests[_RULES.get(record.verdict, "error")] += 1
            else:
                reply = self._replies[record.l7.http.code >= 500]
                reply.observe(record.l7.latency_ns / 1e9)
            yield record


class ProxyCollector(Collector):
    """Turns the controller's state into metric families."""

    def __init__(
        self,
        counts: Counts,
        follower: Follower,
        controller: Controller,
        discovery: Discovery,
        buffer: Buffer,
    ) -> None:
        """Read these at each scrape."""
        self._counts = counts
        self._follower = follower
        self._controller = controller
        self._discovery = discovery
        self._buffer = buffer

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        total = CounterMetricFamily(
            "cilium_policy_l7", "Requests by what became of them", labels=["rule", "proxy_type"]
        )
        for rule, count in list(self._counts.requests.items()):
            total.add_metric([rule, "envoy"], count)
        yield total
        counters = {
            "records_lost": ("Records that hubble never got", self._buffer.lost_ever),
            "rule_sets_refused": ("Rule sets that were not put in force", self._controller.refused),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"cilium_proxy_{name}", text, value=value)
        gauges = {
            "rule_sets": ("Rule sets that the agent wants", len(self._follower.held.sets)),
            "rule_sets_pending": ("Rule sets on their way to Envoy", self._controller.pending),
            "envoy_streams": ("Envoys that are connected", self._discovery.streams),
            "agent_connected": ("Whether the agent is there", int(self._follower.connected)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"cilium_proxy_{name}", text, value=value)


def serve(address: tuple[str, int], registry: CollectorRegistry) -> Any:
    """Serve /metrics from a thread; return what `shutdown` ends it."""
    ProcessCollector(registry=registry)
    server, _thread = start_http_server(address[1], address[0], registry)
    return server
