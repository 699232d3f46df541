# SPDX-License-Identifier: Apache-2.0
"""Where connections go on: to the address that the client meant, from the client's own. Pure.

A pod's connections to a server share what leads there, since the address and the mark that a socket
takes are part of a pool's key: no other pod's requests come in by it. Pools of each client
connection's own would outlive it (envoyproxy/envoy#37617) and use up the source ports. What nobody
uses is closed after a minute, as upstream does.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, protocol_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as upstreams

from cilium_proxy.translate import http, naming, sockets
from cilium_proxy.translate.messages import duration, number, packed

# As long as a kernel's own SYNs are sent again a few times: the client waits by its own clock.
CONNECT_SECONDS = 30.0
IDLE_SECONDS = 60.0
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED = 2**32 - 1
_MANY = 1_000_000


def original_destination(ports: tuple[int, int]) -> list[cluster_pb2.Cluster]:
    """Return the clusters of requests and of bytes; sockets take their ports from `ports`."""
    options = upstreams.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            max_headers_count=number(http.MOST_HEADERS), idle_timeout=duration(IDLE_SECONDS)
        ),
        use_downstream_protocol_config={
            "http_protocol_options": http.http1(),
            "http2_protocol_options": {"allow_connect": True},
        },
    )
    requests = _cluster(naming.HTTP_CLUSTER, ports)
    requests.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(options))
    return [requests, _cluster(naming.TCP_CLUSTER, ports)]


def _cluster(name: str, ports: tuple[int, int]) -> cluster_pb2.Cluster:
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=number(_UNLIMITED),
        max_pending_requests=number(_UNLIMITED),
        max_requests=number(_UNLIMITED),
        max_retries=number(0),
    )
    return cluster_pb2.Cluster(
        name=name,
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout=duration(CONNECT_SECONDS),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        upstream_bind_config=address_pb2.BindConfig(
            socket_options=[sockets.port_range(ports), *sockets.keepalive()]
        ),
    )


def nowhere() -> cluster_pb2.Cluster:
    """Return a cluster without a host: what is led there is closed, and logged."""
    return cluster_pb2.Cluster(
        name=naming.NOWHERE_CLUSTER, type="STATIC", connect_timeout=duration(1)
    )


def unix_socket(name: str, path: str, http2: bool = True) -> cluster_pb2.Cluster:
    """Return the cluster of one unix socket, spoken to in HTTP/2 unless told otherwise."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    made = cluster_pb2.Cluster(
        name=name,
        type="STATIC",
        connect_timeout=duration(5),
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    )
    if http2:
        # The other end is ours. Its gRPC gives back its window for each of Envoy's many small
        # answers; with a thousand listeners at once Envoy would call that a flood, and end it all.
        frames = protocol_pb2.Http2ProtocolOptions(
            max_inbound_window_update_frames_per_data_frame_sent=number(_MANY)
        )
        options = upstreams.HttpProtocolOptions(
            explicit_http_config={"http2_protocol_options": frames}
        )
        made.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(options))
    return made
