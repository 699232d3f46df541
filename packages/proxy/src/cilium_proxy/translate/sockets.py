# SPDX-License-Identifier: Apache-2.0
"""Socket options of the proxy's connections. Pure.

Upstream connections leave from the pod's own address, so their ports come from a range that no pod
uses: the three legs of a connection through two proxies must not share a tuple. The range is
IP_LOCAL_PORT_RANGE's, which has effect within the network namespace's own range only.
"""

from __future__ import annotations

from envoy.config.core.v3 import socket_option_pb2

PORTS = (61000, 65535)
_SOL_IP, _IP_LOCAL_PORT_RANGE = 0, 51
_SOL_SOCKET, _SO_KEEPALIVE = 1, 9
_SOL_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL = 6, 4, 5
KEEPALIVE_SECONDS = 300
KEEPALIVE_INTERVAL_SECONDS = 60


def port_range(ports: tuple[int, int]) -> socket_option_pb2.SocketOption:
    """Return the option that has the kernel choose a source port between these two."""
    low, high = ports
    return _option(_SOL_IP, _IP_LOCAL_PORT_RANGE, high << 16 | low)


def keepalive() -> list[socket_option_pb2.SocketOption]:
    """Return what finds out that the other end is gone; accepted connections inherit it."""
    return [
        _option(_SOL_SOCKET, _SO_KEEPALIVE, 1),
        _option(_SOL_TCP, _TCP_KEEPIDLE, KEEPALIVE_SECONDS),
        _option(_SOL_TCP, _TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
    ]


def _option(level: int, name: int, value: int) -> socket_option_pb2.SocketOption:
    return socket_option_pb2.SocketOption(
        level=level, name=name, int_value=value, state="STATE_PREBIND"
    )
