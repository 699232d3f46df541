# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2 as log
from envoy.service.accesslog.v3 import als_pb2
from proxy_fakes import rule_set

from cilium_core.proto import flow_pb2
from cilium_proxy.access import reading
from cilium_proxy.access.reading import Reader
from cilium_proxy.access.records import Writer, trace_id
from cilium_proxy.redact import PLACEHOLDER, Redaction
from cilium_proxy.translate.naming import ALLOWED, CHAIN_TAG, DENIED, METHOD_TAG, SNI_TAG

SETS = {
    10001: rule_set(10001, direction=2, origins=["CiliumNetworkPolicy shop/web spec.egress[0]"])
}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def common(kind=log.DownstreamEnd, route=ALLOWED, chain="10001", second=100, **tags):
    return log.AccessLogCommon(
        downstream_direct_remote_address={
            "socket_address": {"address": "10.0.0.1", "port_value": 40000}
        },
        downstream_local_address={"socket_address": {"address": "10.0.0.2", "port_value": 80}},
        start_time={"seconds": second, "nanos": 5},
        time_to_first_downstream_tx_byte={"nanos": 3_000_000},
        route_name=route,
        access_log_type=kind,
        custom_tags={CHAIN_TAG: chain, METHOD_TAG: "GET", **tags},
    )


def entry(code=200, **fields):
    return log.HTTPAccessLogEntry(
        common_properties=common(**fields),
        protocol_version=log.HTTPAccessLogEntry.HTTP11,
        request={
            "scheme": "http",
            "authority": "shop",
            "path": "/a?b=c",
            "request_id": "id-1",
            "user_agent": "curl",
            "request_headers": {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        },
        response={"response_code": {"value": code}, "response_headers": {"server": "s"}},
    )


def read(*entries, reader=None, redaction=None):
    made = reader or Reader(Writer(SETS.get, redaction or Redaction()))
    message = als_pb2.StreamAccessLogsMessage(http_logs={"log_entry": entries})
    return list(made.read(message))


def test_a_request_and_its_response_are_two_records():
    request, response = read(entry())
    for record in (request, response):
        assert (record.source, record.source_port) == ("10.0.0.1", 40000)
        assert (record.destination, record.destination_port) == ("10.0.0.2", 80)
        assert (record.direction, record.proxy_port, record.protocol) == (2, 10001, 6)
        assert record.verdict == flow_pb2.FORWARDED
        assert list(record.origins) == ["CiliumNetworkPolicy shop/web spec.egress[0]"]
        assert (record.request_id, record.trace_id) == ("id-1", TRACE)
        assert record.l7.http.url == "http://shop/a?b=c"
        assert (record.l7.http.method, record.l7.http.protocol) == ("GET", "HTTP/1.1")
    assert request.l7.type == flow_pb2.REQUEST
    assert request.l7.http.code == request.l7.latency_ns == 0
    assert {h.key: h.value for h in request.l7.http.headers}["User-Agent"] == "curl"
    assert (response.l7.type, response.l7.http.code) == (flow_pb2.RESPONSE, 200)
    assert response.l7.latency_ns == response.time_ns - request.time_ns == 3_000_000
    assert {h.key for h in response.l7.http.headers} == {"Server", "X-Request-Id"}


def test_a_refused_request_is_one_dropped_record():
    (record,) = read(entry(code=403, route=DENIED))
    assert (record.verdict, record.l7.type) == (flow_pb2.DROPPED, flow_pb2.REQUEST)


def test_what_envoy_finds_fault_with_is_an_error():
    (record,) = read(entry(code=400, route=""))
    assert record.verdict == flow_pb2.ERROR


def test_a_request_that_lasts_is_told_once_while_it_is_open():
    reader = Reader(Writer(SETS.get, Redaction()))
    (request,) = read(entry(kind=log.DownstreamPeriodic, code=0), reader=reader)
    assert request.l7.type == flow_pb2.REQUEST
    assert read(entry(kind=log.DownstreamPeriodic, code=0), reader=reader) == []
    (response,) = read(entry(), reader=reader)
    assert response.l7.type == flow_pb2.RESPONSE


def test_a_client_that_goes_away_leaves_its_request():
    (record,) = read(entry(code=0))
    assert record.l7.type == flow_pb2.REQUEST


def test_the_memory_of_open_requests_is_bounded(monkeypatch):
    monkeypatch.setattr(reading, "MOST_OPEN", 2)
    reader = Reader(Writer(SETS.get, Redaction()))
    for second in (1, 2, 3):
        read(entry(kind=log.DownstreamPeriodic, second=second), reader=reader)
    assert len(read(entry(second=1), reader=reader)) == 2
    assert len(read(entry(second=3), reader=reader)) == 1


def test_redaction_comes_before_anything_leaves():
    redaction = Redaction(enabled=True, url_query=True, headers_allow=frozenset({"server"}))
    request, response = read(entry(), redaction=redaction)
    assert request.l7.http.url == "http://shop/a"
    assert {h.value for h in request.l7.http.headers} == {PLACEHOLDER}
    assert request.trace_id == TRACE
    shown = {h.key: h.value for h in response.l7.http.headers}
    assert shown == {"Server": "s", "X-Request-Id": PLACEHOLDER}


@pytest.mark.parametrize(
    ("chain", "verdict"), [("10001/a.com", flow_pb2.FORWARDED), ("10001/refused", flow_pb2.DROPPED)]
)
def test_a_connection_that_is_passed_on_unread_is_one_record(chain, verdict):
    reader = Reader(Writer(SETS.get, Redaction()))
    found = []
    for kind in (log.TcpUpstreamConnected, log.TcpConnectionEnd):
        made = log.TCPAccessLogEntry(
            common_properties=common(kind=kind, route="", chain=chain, **{SNI_TAG: "a.com"})
        )
        found += reader.read(als_pb2.StreamAccessLogsMessage(tcp_logs={"log_entry": [made]}))
    (record,) = found
    assert record.verdict == verdict
    assert (record.l7.http.url, record.l7.http.protocol) == ("https://a.com", "TLS")


@pytest.mark.parametrize("text", ["", "00-abc-1-01", f"00-{TRACE}", "rubbish"])
def test_a_header_that_is_no_trace_has_no_id(text):
    assert trace_id(text) == ""
