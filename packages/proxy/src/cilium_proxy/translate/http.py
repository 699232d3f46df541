# SPDX-License-Identifier: Apache-2.0
"""The HTTP filter chain. It knows no rules, so that an edit of rules is an edit of routes. Pure.

The proxy is not there as far as both ends can see: it adds no headers but x-request-id and
x-forwarded-proto (Envoy's own, as upstream's), keeps what others say in x-forwarded-*, and cuts
nothing that is idle within a stream (as upstream:
stream_idle_timeout is 0 in its pkg/envoy; its request timeout of an hour and its retries of every
5xx are left out, as clients and servers have their own). Bodies are never buffered whole.

Differently from upstream slashes are neither merged nor unescaped: an answer 307 to every path
with `%2F` breaks servers that mean it; `routes` has what is done instead.
"""

from __future__ import annotations

from envoy.config.core.v3 import protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.request_id.uuid.v3 import uuid_pb2

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.translate import access_log, naming
from cilium_proxy.translate.messages import duration, extension, number, packed, yes

MOST_HEADERS = 1000
_MANAGER = hcm.HttpConnectionManager
_UPGRADES = ("websocket", "spdy/3.1")


def chain(rule_set: pb.RuleSet, headers: tuple[str, ...] = ()) -> components.FilterChain:
    """Return the chain that reads requests; `headers` are to be logged beside the usual ones."""
    name = naming.chain(rule_set.port)
    manager = extension(
        "envoy.filters.network.http_connection_manager", _manager(rule_set, headers)
    )
    return components.FilterChain(name=name, filters=[components.Filter(**manager)])


def _manager(rule_set: pb.RuleSet, headers: tuple[str, ...]) -> hcm.HttpConnectionManager:
    router = router_pb2.Router(suppress_envoy_headers=True)
    request_id = uuid_pb2.UuidRequestIdConfig(
        pack_trace_reason=yes(False), use_request_id_for_trace_sampling=yes(False)
    )
    return _MANAGER(
        stat_prefix=rule_set.name or naming.resource(rule_set.port),
        rds=_routes(rule_set.port),
        http_filters=[hcm.HttpFilter(**extension("envoy.filters.http.router", router))],
        access_log=access_log.http(headers),
        access_log_options=_MANAGER.HcmAccessLogOptions(
            access_log_flush_interval=duration(access_log.OPEN_SECONDS)
        ),
        server_header_transformation="PASS_THROUGH",
        # Nobody is inside: what pods say in x-envoy-* commands no proxy.
        use_remote_address=yes(False),
        internal_address_config=_MANAGER.InternalAddressConfig(),
        preserve_external_request_id=True,
        request_id_extension=hcm.RequestIDExtension(typed_config=packed(request_id)),
        normalize_path=yes(),
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        stream_idle_timeout=duration(0),
        request_timeout=duration(0),
        proxy_100_continue=True,
        upgrade_configs=[_MANAGER.UpgradeConfig(upgrade_type=kind) for kind in _UPGRADES],
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            max_headers_count=number(MOST_HEADERS)
        ),
        http_protocol_options=http1(),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(allow_connect=True),
    )


def http1() -> protocol_pb2.Http1ProtocolOptions:
    """Return how HTTP/1 is spoken, on both sides. Both lengths at once stay refused."""
    return protocol_pb2.Http1ProtocolOptions(accept_http_10=True, enable_trailers=True)


def _routes(port: int) -> hcm.Rds:
    # Without its routes a listener does not open, however long they take.
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": duration(0)}
    return hcm.Rds(route_config_name=naming.resource(port), config_source=source)
