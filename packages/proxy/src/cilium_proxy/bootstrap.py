# SPDX-License-Identifier: Apache-2.0
"""The static part of Envoy's configuration, as a file that Envoy is started with. Pure.

It holds what does not change with rules: how to reach the controller, where connections go on, and
pages for metrics and health. Listeners come from the controller. Envoy is started as

    envoy --config-path FILE --disable-hot-restart

without --service-cluster or --service-node: who it is stands in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.config.listener.v3 import listener_pb2
from envoy.config.overload.v3 import overload_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,
)
from google.protobuf import json_format, struct_pb2

from cilium_proxy.translate import clusters, naming, sockets
from cilium_proxy.translate.messages import duration, extension

MOST_CONNECTIONS = 500_000  # memory ends before; a limit is what Envoy warns of when it has none
_STARTS_TO_WAIT_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are. Addresses are (host, port), None for none."""

    node: str
    controller: str  # paths of unix sockets
    access_log: str
    admin: str
    metrics: tuple[str, int] | None = None
    health: tuple[str, int] | None = None
    ports: tuple[int, int] = sockets.PORTS


def text(places: Places) -> str:
    """Return the file's content."""
    return json_format.MessageToJson(bootstrap(places), preserving_proto_field_name=True)


def bootstrap(places: Places) -> bootstrap_pb2.Bootstrap:
    """Return the configuration that Envoy starts with."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    return bootstrap_pb2.Bootstrap(
        node={"id": places.node, "cluster": "cilium-envoy"},
        admin={"address": {"pipe": {"path": places.admin, "mode": 0o600}}},
        static_resources={"clusters": _clusters(places), "listeners": _pages(places)},
        dynamic_resources={
            "lds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [_controller()],
            },
        },
        overload_manager=_overload(),
        layered_runtime={"layers": [{"name": "static", "static_layer": _runtime()}]},
    )


def _clusters(places: Places) -> list[object]:
    return [
        *clusters.original_destination(places.ports),
        clusters.nowhere(),
        clusters.unix_socket(naming.XDS_CLUSTER, places.controller),
        clusters.unix_socket(naming.ACCESS_LOG_CLUSTER, places.access_log),
        clusters.unix_socket(naming.ADMIN_CLUSTER, places.admin, http2=False),
    ]


def _controller() -> dict[str, object]:
    # A controller that was restarted is found within a second or two, not after half a minute.
    backoff = {"base_interval": duration(0.1), "max_interval": duration(2)}
    return {
        "envoy_grpc": {
            "cluster_name": naming.XDS_CLUSTER,
            "retry_policy": {"retry_back_off": backoff},
        }
    }


def _overload() -> overload_pb2.OverloadManager:
    limit = downstream_connections_pb2.DownstreamConnectionsConfig(
        max_active_downstream_connections=MOST_CONNECTIONS
    )
    monitor = extension("envoy.resource_monitors.global_downstream_max_connections", limit)
    return overload_pb2.OverloadManager(
        refresh_interval=duration(0.25), resource_monitors=[monitor]
    )


def _runtime() -> struct_pb2.Struct:
    """Return no runtime keys of its own; the layer keeps Envoy from looking for others."""
    return struct_pb2.Struct()


def _pages(places: Places) -> list[listener_pb2.Listener]:
    made = []
    if places.metrics:
        made.append(_page("metrics", places.metrics, "/metrics", "/stats/prometheus"))
    if places.health:
        made.append(_page("health", places.health, "/healthz", "/ready"))
    return made


def _page(name: str, address: tuple[str, int], path: str, page: str) -> listener_pb2.Listener:
    """Return a listener that shows one page of the admin interface and nothing else of it."""
    route = route_components_pb2.Route(
        match={"path": path},
        route={"cluster": naming.ADMIN_CLUSTER, "prefix_rewrite": page},
    )
    manager = hcm.HttpConnectionManager(
        stat_prefix=name,
        route_config=route_pb2.RouteConfiguration(
            virtual_hosts=[{"name": name, "domains": ["*"], "routes": [route]}]
        ),
        http_filters=[
            hcm.HttpFilter(**extension("envoy.filters.http.router", router_pb2.Router()))
        ],
    )
    host, port = address
    filters = extension("envoy.filters.network.http_connection_manager", manager)
    return listener_pb2.Listener(
        name=name,
        address=address_pb2.Address(socket_address={"address": host, "port_value": port}),
        bypass_overload_manager=True,
        filter_chains=[components.FilterChain(filters=[components.Filter(**filters)])],
    )
