# SPDX-License-Identifier: Apache-2.0
"""The questions of the Observer API that have one answer: a node's observer and relay give them."""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from cilium_core.proto import observer_pb2 as pb


class Answering(Protocol):
    """Who gives the answers, each from a request and a context."""

    async def server_status(self, request: pb.ServerStatusRequest, context: Any) -> Any: ...

    async def get_nodes(self, request: pb.GetNodesRequest, context: Any) -> Any: ...

    async def get_namespaces(self, request: pb.GetNamespacesRequest, context: Any) -> Any: ...


def answering(service: Answering) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Return the methods for a server, by name."""
    methods: dict[str, tuple[Any, Any]] = {
        "ServerStatus": (service.server_status, pb.ServerStatusRequest),
        "GetNodes": (service.get_nodes, pb.GetNodesRequest),
        "GetNamespaces": (service.get_namespaces, pb.GetNamespacesRequest),
    }
    return {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=request.FromString,
            response_serializer=serialize,
        )
        for name, (method, request) in methods.items()
    }


def serialize(message: Any) -> bytes:
    """Return a message's bytes."""
    raw: bytes = message.SerializeToString()
    return raw
