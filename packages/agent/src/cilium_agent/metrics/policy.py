# SPDX-License-Identifier: Apache-2.0
"""Families about policy: what is held, in force, and how long it takes to get there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from cilium_agent.state import AgentState
from cilium_core.policy.rules import Direction

_ENFORCED = {
    frozenset[Direction](): "none",
    frozenset({Direction.INGRESS}): "ingress",
    frozenset({Direction.EGRESS}): "egress",
    frozenset(Direction): "both",
}


def policy_families(state: AgentState) -> Iterator[Metric]:
    """Yield the families; empty ones while policy is not up yet."""
    repository, keeper = state.repository, state.keeper
    held = repository.held.values() if repository is not None else ()
    yield GaugeMetricFamily("cilium_policy", "Policy objects that are held", value=len(held))
    invalid = sum(bool(one.problems) for one in held)
    yield GaugeMetricFamily(
        "cilium_policy_invalid", "Policy objects not enforced as written", value=invalid
    )
    yield GaugeMetricFamily(
        "cilium_policy_max_revision",
        "Highest policy revision in force",
        value=keeper.revision if keeper is not None else 0,
    )
    enforced = GaugeMetricFamily(
        "cilium_policy_endpoint_enforcement_status",
        "Endpoints by the directions that policies select them in",
        labels=["enforcement"],
    )
    counts = Counter(
        _ENFORCED[keeper.enforcing(one.endpoint_id)] if keeper is not None else "none"
        for one in state.endpoint_list()
    )
    for name in _ENFORCED.values():
        enforced.add_metric([name], counts[name])
    yield enforced
    yield from _proxy_families(state)
    changes = CounterMetricFamily(
        "cilium_policy_change", "Writes of policy into the kernel", labels=["outcome"]
    )
    took = SummaryMetricFamily(
        "cilium_policy_regeneration_time_stats_seconds",
        "Time from noticing changes to having them in the kernel",
    )
    if keeper is not None:
        changes.add_metric(["success"], keeper.flushes)
        changes.add_metric(["failure"], keeper.failures)
        took.add_metric([], count_value=keeper.flushes, sum_value=keeper.seconds)
    yield changes
    yield took


def _proxy_families(state: AgentState) -> Iterator[Metric]:
    rule_sets = state.rule_sets
    yield GaugeMetricFamily(
        "cilium_policy_missing_proxy_redirects",
        "Redirects of policies that no proxy serves: what they govern is dropped",
        value=rule_sets.missing() if rule_sets is not None else 0,
    )
    led = GaugeMetricFamily(
        "cilium_proxy_redirects",
        "L7 rule sets that connections are led to",
        labels=["protocol_l7"],
    )
    for kind, count in (rule_sets.in_force() if rule_sets is not None else {}).items():
        led.add_metric([str(kind)], count)
    yield led
