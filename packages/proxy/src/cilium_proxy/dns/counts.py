# SPDX-License-Identifier: Apache-2.0
"""What the DNS proxy counts, under upstream's names where upstream has one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Counts:
    """Counters and histograms in a registry of their own."""

    def __init__(self) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()
        self.policy = Counter(
            "cilium_policy_l7",
            "Questions by what became of them",
            ["rule", "proxy_type"],
            registry=self.registry,
        )
        self.not_released_in_time = Counter(
            "cilium_proxy_datapath_update_timeout",
            "Answers released before the agent said that the kernel knows their addresses",
            ["reason"],
            registry=self.registry,
        )
        self.dropped = Counter(
            "cilium_dns_proxy_discarded",
            "Messages that led to nothing, of clients and servers, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.upstream_seconds = Histogram(
            "cilium_proxy_upstream_reply_seconds",
            "From the question to the server's answer",
            ["error", "protocol_l7"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.learn_seconds = Histogram(
            "cilium_dns_proxy_learn_seconds",
            "How long answers with addresses were held for the agent",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def question(self, outcome: str) -> None:
        """Count a question: `received`, `forwarded`, `denied`, `parse_errors`."""
        self.policy.labels(outcome, "fqdn").inc()

    def discarded(self, reason: str) -> None:
        """Count a message that led to nothing."""
        self.dropped.labels(reason).inc()

    def upstream(self, seconds: float, error: str = "") -> None:
        """Note how long a server took, or after how long it was given up and why."""
        self.upstream_seconds.labels(error, "dns").observe(seconds)

    def value(self, name: str, **labels: str) -> float:
        """Return a sample's value, 0 when nothing was counted."""
        return self.registry.get_sample_value(name, labels) or 0.0
