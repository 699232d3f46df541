# SPDX-License-Identifier: Apache-2.0
"""What the L7 bench compares with: Envoy as its own documentation configures it, in one file. Pure.

Two listeners that lead on what the redirect brings: bytes; requests by one route that takes all.
Only what the redirect itself asks for is added: transparent sockets, addresses kept, the marks and
source ports of a proxy. A third is ours without its records and with its routes in the file.
"""

from __future__ import annotations

import json
from typing import Any

from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf import json_format

from cilium_core.marks import Mark
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.translate import clusters, sockets
from cilium_proxy.translate.listener import listener
from cilium_proxy.translate.messages import packed
from cilium_proxy.translate.routes import route_configuration

Json = dict[str, Any]
_TYPES = "type.googleapis.com/envoy.extensions."
_REQUESTS, _BYTES = "requests", "bytes"


def config(tcp: int, http: int, unrecorded: pb.RuleSet, admin: str) -> str:
    """Return the file's content, JSON; the first two are ports, `admin` a socket's path."""
    router = _extension("router", "filters.http.router.v3.Router")
    listeners = [_listener(tcp, _tcp_proxy()), _listener(http, _http(router))]
    ours = clusters.original_destination(sockets.PORTS)
    return json.dumps(
        {
            "node": {"id": "bench", "cluster": "bench"},
            "admin": {"address": {"pipe": {"path": admin, "mode": 0o600}}},
            "static_resources": {
                "listeners": [*listeners, _without_records(unrecorded)],
                "clusters": [
                    _cluster(_BYTES),
                    _cluster(_REQUESTS),
                    *(_plain(cluster) for cluster in ours),
                ],
            },
        }
    )


def _listener(port: int, network_filter: Json) -> Json:
    source = {"mark": int(Mark.EGRESS_PROXY)}
    return {
        "name": str(port),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "transparent": True,
        "listener_filters": [
            _extension("listener", "filters.listener.original_dst.v3.OriginalDst"),
            _extension("listener", "filters.listener.original_src.v3.OriginalSrc", **source),
        ],
        "filter_chains": [{"filters": [network_filter]}],
    }


def _tcp_proxy() -> Json:
    kind = "filters.network.tcp_proxy.v3.TcpProxy"
    return _extension("tcp", kind, stat_prefix="tcp", cluster=_BYTES)


def _http(router: Json) -> Json:
    route = {"match": {"prefix": "/"}, "route": {"cluster": _REQUESTS}}
    return _extension(
        "http",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
    )


def _cluster(name: str) -> Json:
    made: Json = {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "upstream_bind_config": {"socket_options": [_plain(sockets.port_range(sockets.PORTS))]},
    }
    if name != _BYTES:
        kind = "upstreams.http.v3.HttpProtocolOptions"
        downstream: Json = {"http_protocol_options": {}, "http2_protocol_options": {}}
        made["typed_extension_protocol_options"] = {
            f"envoy.extensions.{kind}": {
                "@type": _TYPES + kind,
                "use_downstream_protocol_config": downstream,
            }
        }
    return made


def _extension(name: str, kind: str, **fields: Any) -> Json:
    return {"name": name, "typed_config": {"@type": _TYPES + kind, **fields}}


def _without_records(rule_set: pb.RuleSet) -> Json:
    """Return the rule set's own listener, without access log, its routes inside."""
    made = listener(rule_set)
    config = made.filter_chains[-1].filters[0].typed_config
    manager = hcm.HttpConnectionManager()
    config.Unpack(manager)
    manager.ClearField("access_log")
    manager.ClearField("access_log_options")
    manager.route_config.CopyFrom(route_configuration(rule_set))
    config.CopyFrom(packed(manager))
    return _plain(made)


def _plain(message: Any) -> Json:
    found: Json = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found
