# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from proxy_fakes import rule_set

from cilium_core.proto import access_pb2, flow_pb2
from cilium_proxy.access.buffer import Buffer
from cilium_proxy.controller import Controller
from cilium_proxy.following import Follower
from cilium_proxy.metrics import Counts, ProxyCollector
from cilium_proxy.rules.held import Change
from cilium_proxy.xds.server import Discovery
from cilium_proxy.xds.table import Table


async def test_a_scrape_tells_rule_sets_requests_and_losses(tmp_path):
    registry, table = CollectorRegistry(), Table()
    counts, follower = Counts(registry), Follower(tmp_path / "socket", ())
    controller, buffer = Controller(table, follower.report), Buffer(capacity=1)
    registry.register(ProxyCollector(counts, follower, controller, Discovery(table), buffer))
    controller.take(Change((rule_set(10001),)))
    request = access_pb2.Record(verdict=flow_pb2.DROPPED, l7={"type": flow_pb2.REQUEST})
    answered = {"type": flow_pb2.RESPONSE, "latency_ns": 2_000_000, "http": {"code": 503}}
    response = access_pb2.Record(verdict=flow_pb2.FORWARDED, l7=answered)
    buffer.add(counts.counted([request, response]))
    text = generate_latest(registry).decode().splitlines()
    for line in (
        'cilium_policy_l7_total{proxy_type="envoy",rule="received"} 1.0',
        'cilium_policy_l7_total{proxy_type="envoy",rule="denied"} 1.0',
        "cilium_proxy_records_lost_total 1.0",
        "cilium_proxy_rule_sets_pending 1.0",
        "cilium_proxy_agent_connected 0.0",
    ):
        assert line in text
    labels = 'error="true",protocol_l7="http",scope="total"'
    assert f"cilium_proxy_upstream_reply_seconds_count{{{labels}}} 1.0" in text
