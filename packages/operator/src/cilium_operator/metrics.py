# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics under upstream's names, in a registry of their own per process.

Updated from the event loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

PREFIX = "cilium_operator"


class Metrics:
    """All that the operator counts."""

    def __init__(self) -> None:
        """Register everything at zero."""
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._entries = Gauge(
            f"{PREFIX}_identity_gc_entries",
            "Identities at the end of the last garbage collection.",
            ["status", "identity_type"],
            registry=registry,
        )
        self._runs = Gauge(
            f"{PREFIX}_identity_gc_runs",
            "Identity garbage collections run.",
            ["outcome", "identity_type"],
            registry=registry,
        )
        self._latency = Gauge(
            f"{PREFIX}_identity_gc_latency",
            "Seconds that the last identity garbage collection took.",
            ["outcome", "identity_type"],
            registry=registry,
        )
        self._endpoints = Counter(
            f"{PREFIX}_endpoint_gc_objects",
            "CiliumEndpoints deleted because their pod is gone.",
            ["outcome"],
            registry=registry,
        )
        self._groups = Counter(
            f"{PREFIX}_controllers_group_runs",
            "Runs of each controller.",
            ["status", "group_name"],
            registry=registry,
        )
        self._nodes = Gauge(
            f"{PREFIX}_ipam_nodes", "Nodes by state.", ["category"], registry=registry
        )
        self._cidrs = Gauge(
            f"{PREFIX}_ipam_podcidrs_available",
            "Pod CIDRs that may still be given to nodes.",
            ["family"],
            registry=registry,
        )
        self.depth = Gauge(
            f"{PREFIX}_workqueue_depth", "Keys waiting.", ["queue_name"], registry=registry
        )
        self.adds = Counter(
            f"{PREFIX}_workqueue_adds", "Keys added.", ["queue_name"], registry=registry
        )
        self.retries = Counter(
            f"{PREFIX}_workqueue_retries", "Keys tried again.", ["queue_name"], registry=registry
        )
        self.work = Histogram(
            f"{PREFIX}_workqueue_work_duration_seconds",
            "Seconds of work on a key.",
            ["queue_name"],
            registry=registry,
        )
        self.leader = Gauge(
            f"{PREFIX}_leader_election_master_status",
            "1 while this process leads.",
            ["name"],
            registry=registry,
        )

    def identities(self, alive: int, deleted: int, seconds: float) -> None:
        """Note a finished identity garbage collection."""
        self._entries.labels("alive", "crd").set(alive)
        self._entries.labels("deleted", "crd").set(deleted)
        self._runs.labels("success", "crd").inc()
        self._latency.labels("success", "crd").set(seconds)

    def endpoints(self, deleted: int) -> None:
        """Note a finished endpoint garbage collection."""
        self._endpoints.labels("success").inc(deleted)

    def run(self, group: str, failed: bool) -> None:
        """Note a run of a periodic controller."""
        self._groups.labels("failure" if failed else "success", group).inc()
        if failed and group == "identity-gc":
            self._runs.labels("fail", "crd").inc()

    def ipam(
        self,
        total: Callable[[], float],
        failing: Callable[[], float],
        free: Mapping[int, Callable[[], float]],
    ) -> None:
        """Take IPAM's numbers from functions that are asked at each scrape."""
        self._nodes.labels("total").set_function(total)
        self._nodes.labels("in-deficit").set_function(failing)
        for family, count in free.items():
            self._cidrs.labels(f"ipv{family}").set_function(count)

    def text(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
