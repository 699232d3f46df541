# SPDX-License-Identifier: Apache-2.0
"""peer.Peer: every node as an addition first, then what changes, for as long as somebody listens.

A stream remembers what it has told, so that one that reads slowly hears of the latest state and of
nothing in between. Event loop only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from cilium_core.proto import peer_pb2 as pb
from cilium_hubble.peer.names import peer_name, server_name, target
from cilium_hubble.state.cluster import ClusterNodes

SERVICE = "peer.Peer"


class Peers:
    """The method. `cluster` tells the cluster's name; `tls` whether nodes speak TLS."""

    def __init__(
        self, nodes: ClusterNodes, cluster: Callable[[], str], port: int, *, tls: bool
    ) -> None:
        """Tell of these nodes, all of which listen at `port`."""
        self._nodes = nodes
        self._cluster = cluster
        self._port = port
        self._tls = tls

    async def notify(
        self, _request: pb.NotifyRequest, _context: Any
    ) -> AsyncIterator[pb.ChangeNotification]:
        """Stream changes; the first ones are what there is."""
        told: dict[str, pb.ChangeNotification] = {}
        while True:
            version = self._nodes.version
            now = self._now()
            for change in changes(told, now):
                yield change
            told = now
            await self._nodes.wait(version)

    def _now(self) -> dict[str, pb.ChangeNotification]:
        cluster = self._cluster()
        return {
            name: pb.ChangeNotification(
                name=peer_name(name, cluster),
                address=target(address, self._port),
                tls=pb.TLS(server_name=server_name(name, cluster)) if self._tls else None,
            )
            for name, address in sorted(self._nodes.addresses.items())
            if address
        }


def changes(
    told: dict[str, pb.ChangeNotification], now: dict[str, pb.ChangeNotification]
) -> list[pb.ChangeNotification]:
    """Return what makes somebody who was told `told` know `now`: what went goes first. Pure."""
    found = []
    for name, peer in told.items():
        if name not in now:
            found.append(_as(peer, pb.PEER_DELETED))
    for name, peer in now.items():
        if name not in told:
            found.append(_as(peer, pb.PEER_ADDED))
        elif told[name] != peer:
            found.append(_as(peer, pb.PEER_UPDATED))
    return found


def handler(peers: Peers) -> grpc.GenericRpcHandler:
    """Return the service for a server."""
    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        peers.notify,
        request_deserializer=pb.NotifyRequest.FromString,
        response_serializer=pb.ChangeNotification.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Notify": method})


def _as(peer: pb.ChangeNotification, kind: pb.ChangeNotificationType) -> pb.ChangeNotification:
    made = pb.ChangeNotification()
    made.CopyFrom(peer)
    made.type = kind
    return made
