# SPDX-License-Identifier: Apache-2.0
"""Families about names of toFQDNs."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cilium_agent.state import AgentState


def fqdn_families(state: AgentState) -> Iterator[Metric]:
    """Yield the families; without values while names are not up yet."""
    held = state.names
    per_endpoint = {
        "cilium_fqdn_active_names": "Names whose TTL goes on",
        "cilium_fqdn_active_ips": "Addresses of names whose TTL goes on",
        "cilium_fqdn_alive_zombie_connections": "Addresses that connections keep after their TTL",
    }
    names, addresses, kept = (
        GaugeMetricFamily(name, text, labels=["endpoint"]) for name, text in per_endpoint.items()
    )
    for number, known in held.cache.endpoints.items() if held is not None else ():
        active = [(name, address) for name, address, _ in known.lookups.items()]
        names.add_metric([str(number)], len({name for name, _ in active}))
        addresses.add_metric([str(number)], len({address for _, address in active}))
        kept.add_metric([str(number)], len(known.deferred))
    yield from (names, addresses, kept)
    yield CounterMetricFamily(
        "cilium_fqdn_gc_deletions",
        "Names' addresses that were forgotten",
        value=held.deletions if held is not None else 0,
    )
    yield GaugeMetricFamily(
        "cilium_fqdn_selectors",
        "Selectors of toFQDNs in policies",
        value=len(held.cache.selection.selectors) if held is not None else 0,
    )
