# SPDX-License-Identifier: Apache-2.0
"""How Envoy tells the controller what it did: gRPC access logs, the same for all listeners. Pure.

An entry comes at the end of a request, from which both of its records are made: an entry at the
start as well would double what a short request costs. One that is still open after a second, a
stream of gRPC or a WebSocket, has one more entry then, so that its request does not wait for its
end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.data.accesslog.v3 import accesslog_pb2 as data
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.type.tracing.v3 import custom_tag_pb2

from cilium_proxy.translate import naming
from cilium_proxy.translate.messages import duration, extension, number

FLUSH_SECONDS = 0.05
BUFFER_BYTES = 1 << 17  # a busy worker sends a few large messages, not many small ones
OPEN_SECONDS = 1.0
# Headers that are worth a look and no secret. Envoy logs the headers that it is told, not all.
HEADERS = (
    *("accept", "accept-encoding", "accept-language", "cache-control", "content-encoding"),
    *("content-length", "content-type", "date", "etag", "grpc-encoding", "grpc-message"),
    *("grpc-status", "grpc-timeout", "if-match", "if-none-match", "location", "origin", "range"),
    *("referer", "retry-after", "server", "te", "traceparent", "tracestate", "transfer-encoding"),
    *("upgrade", "user-agent", "vary", "via", "x-b3-traceid", "x-forwarded-for"),
    *("x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id"),
)
# What Envoy logs in fields of its own.
_OWN = ("user-agent", "referer", "x-forwarded-for", "x-request-id")


def http(more: tuple[str, ...] = ()) -> list[accesslog_pb2.AccessLog]:
    """Return the access log of HTTP listeners; `more` are names of headers to log as well."""
    names = sorted({*HEADERS, *(name.lower() for name in more)})
    config = als_pb2.HttpGrpcAccessLogConfig(
        common_config=_common("http", {naming.METHOD_TAG: "%REQ(:METHOD)%"}),
        additional_request_headers_to_log=[name for name in names if name not in _OWN],
        additional_response_headers_to_log=names,
    )
    started = _and(_types(data.DownstreamPeriodic), _shorter(2 * OPEN_SECONDS - 0.001))
    either = accesslog_pb2.OrFilter(filters=[_types(data.DownstreamEnd), started])
    return [
        accesslog_pb2.AccessLog(
            **extension("envoy.access_loggers.http_grpc", config),
            filter=accesslog_pb2.AccessLogFilter(or_filter=either),
        )
    ]


def tcp() -> list[accesslog_pb2.AccessLog]:
    """Return the access log of connections that are passed on unread: one entry for each."""
    config = als_pb2.TcpGrpcAccessLogConfig(
        common_config=_common("tcp", {naming.SNI_TAG: "%REQUESTED_SERVER_NAME%"})
    )
    return [accesslog_pb2.AccessLog(**extension("envoy.access_loggers.tcp_grpc", config))]


def _common(name: str, tags: Mapping[str, str]) -> als_pb2.CommonGrpcAccessLogConfig:
    tags = {naming.CHAIN_TAG: "%FILTER_CHAIN_NAME%", **tags}
    return als_pb2.CommonGrpcAccessLogConfig(
        log_name=name,
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": naming.ACCESS_LOG_CLUSTER}},
        buffer_flush_interval=duration(FLUSH_SECONDS),
        buffer_size_bytes=number(BUFFER_BYTES),
        custom_tags=[custom_tag_pb2.CustomTag(tag=tag, value=text) for tag, text in tags.items()],
    )


def _types(*types: Any) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(log_type_filter={"types": types})


def _and(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(and_filter={"filters": filters})


def _shorter(seconds: float) -> accesslog_pb2.AccessLogFilter:
    limit = {"default_value": int(seconds * 1000), "runtime_key": "unused"}
    comparison = accesslog_pb2.ComparisonFilter(op="LE", value=limit)
    return accesslog_pb2.AccessLogFilter(duration_filter={"comparison": comparison})
