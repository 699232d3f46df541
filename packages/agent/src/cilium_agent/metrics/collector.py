# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics under upstream's names, computed from the rooms' own state at each scrape.

Nothing is counted twice and nothing on the hot path: the datapath counts in its map, the rooms
in plain integers. Runs on the event loop, some milliseconds a scrape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cilium_agent.api.status import not_available
from cilium_agent.datapath.store import MapStore
from cilium_agent.metrics.fqdn import fqdn_families
from cilium_agent.metrics.policy import policy_families
from cilium_agent.metrics.reasons import FIRST_DROP_REASON, reason_text
from cilium_agent.state import VERSION, AgentState
from cilium_core.identity import Reserved
from cilium_core.layouts.spec import MapSpec

_DIRECTIONS = {1: "INGRESS", 2: "EGRESS"}


class AgentCollector(Collector):
    """Turns the agent's state into metric families."""

    def __init__(self, state: AgentState) -> None:
        """Read `state` at each scrape."""
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield from self._agent()
        yield from self._endpoints()
        yield from self._identities()
        yield from self._kubernetes()
        yield from self._ipam()
        yield from self._controllers()
        yield from self._maps()
        yield from self._traffic()
        yield from policy_families(self._state)
        yield from fqdn_families(self._state)

    def _agent(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("cilium_version", "Version of the agent", labels=["version"])
        version.add_metric([VERSION], 1)
        yield version
        yield GaugeMetricFamily(
            "cilium_agent_bootstrap_seconds",
            "Seconds from start to ready",
            value=self._state.bootstrap_seconds,
        )
        missing = GaugeMetricFamily(
            "cilium_feature_not_available",
            "Feature that the values turn on and that this version does not have",
            labels=["feature"],
        )
        for name in not_available(self._state):
            missing.add_metric([name], 1)
        yield missing

    def _endpoints(self) -> Iterator[Metric]:
        known = self._state.endpoint_list()
        yield GaugeMetricFamily(
            "cilium_endpoint", "Endpoints that this agent manages", value=len(known)
        )
        by_state = GaugeMetricFamily(
            "cilium_endpoint_state", "Endpoints by state", labels=["endpoint_state"]
        )
        for name, count in Counter(item.state.value for item in known).items():
            by_state.add_metric([name], count)
        yield by_state

    def _identities(self) -> Iterator[Metric]:
        allocator = self._state.allocator
        by_type = GaugeMetricFamily("cilium_identity", "Identities known", labels=["type"])
        by_type.add_metric(["reserved"], len(Reserved) - 1)
        by_type.add_metric(["cluster_local"], len(allocator.known()) if allocator else 0)
        yield by_type

    def _kubernetes(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "cilium_kubernetes_events",
            "Kubernetes events processed",
            labels=["scope", "action", "status"],
        )
        last = GaugeMetricFamily(
            "cilium_event_ts", "Time of the last event", labels=["source", "scope", "action"]
        )
        for scope, informer in self._state.informers.items():
            for action, count in informer.events.items():
                events.add_metric([scope, action, "success"], count)
            for action, count in informer.faults.items():
                events.add_metric([scope, action, "failed"], count)
            if informer.last_event:
                last.add_metric(["k8s", scope, ""], informer.last_event)
        yield events
        yield last
        calls = CounterMetricFamily(
            "cilium_k8s_client_api_calls",
            "Requests to the API server (return code 0: no answer)",
            labels=["method", "return_code"],
        )
        client = self._state.client
        for (method, status), count in (client.calls if client is not None else {}).items():
            calls.add_metric([method, str(status)], count)
        yield calls

    def _ipam(self) -> Iterator[Metric]:
        capacity = GaugeMetricFamily(
            "cilium_ipam_capacity", "Addresses of the pod CIDR", labels=["family", "cidr"]
        )
        used = GaugeMetricFamily(
            "cilium_ip_addresses", "Addresses in use by pods", labels=["family"]
        )
        pool = self._state.pool
        for name, family in (("ipv4", pool.v4), ("ipv6", pool.v6)) if pool is not None else ():
            if family is not None:
                capacity.add_metric([name, str(family.network)], family.capacity)
                used.add_metric([name], family.used)
        yield capacity
        yield used

    def _controllers(self) -> Iterator[Metric]:
        runs = CounterMetricFamily(
            "cilium_controllers_runs", "Runs of repeated jobs", labels=["status"]
        )
        outcomes = self._state.controllers.values()
        runs.add_metric(["success"], sum(outcome.successes for outcome in outcomes))
        runs.add_metric(["failure"], sum(outcome.failures for outcome in outcomes))
        yield runs
        failing = sum(outcome.consecutive_failures > 0 for outcome in outcomes)
        yield GaugeMetricFamily("cilium_controllers_failing", "Jobs that fail now", value=failing)

    def _maps(self) -> Iterator[Metric]:
        pressure = GaugeMetricFamily(
            "cilium_bpf_map_pressure", "Share of a map that is in use", labels=["map_name"]
        )
        store = self._state.store
        if store is not None:
            for spec, used in store_sizes(store):
                pressure.add_metric([spec.name], used / spec.max_entries)
        if self._state.policy_sizes is not None:
            for name, (used, room) in self._state.policy_sizes().items():
                pressure.add_metric([name], used / room)
        yield pressure

    def _traffic(self) -> Iterator[Metric]:
        drops = CounterMetricFamily(
            "cilium_drop_count", "Packets dropped", labels=["reason", "direction"]
        )
        drop_bytes = CounterMetricFamily(
            "cilium_drop_bytes", "Bytes dropped", labels=["reason", "direction"]
        )
        forwards = CounterMetricFamily(
            "cilium_forward_count", "Packets forwarded", labels=["direction"]
        )
        forward_bytes = CounterMetricFamily(
            "cilium_forward_bytes", "Bytes forwarded", labels=["direction"]
        )
        store = self._state.store
        for key, total in (store.metrics.totals() if store is not None else {}).items():
            direction = _DIRECTIONS.get(key.direction, "UNKNOWN")
            if key.reason == 0:
                forwards.add_metric([direction], total.count)
                forward_bytes.add_metric([direction], total.bytes)
            elif key.reason >= FIRST_DROP_REASON:
                text = reason_text(key.reason)
                drops.add_metric([text, direction], total.count)
                drop_bytes.add_metric([text, direction], total.bytes)
        yield from (drops, drop_bytes, forwards, forward_bytes)


def store_sizes(store: MapStore) -> list[tuple[MapSpec[Any, Any], int]]:
    """Return each table's map and how many rows it holds."""
    tables = (
        store.endpoints,
        store.ipcache,
        store.tunnels,
        store.services,
        store.slots,
        store.backends,
    )
    return [(table.kernel.spec, len(table.current)) for table in tables]


class Renderer:
    """The text that a scrape gets: the agent's families and the process's own."""

    def __init__(self, state: AgentState) -> None:
        """Make a registry of its own, so that nothing global is needed."""
        self._registry = CollectorRegistry()
        self._registry.register(AgentCollector(state))
        ProcessCollector(namespace="cilium", registry=self._registry)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
