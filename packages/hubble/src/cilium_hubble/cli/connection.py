# SPDX-License-Identifier: Apache-2.0
"""Which server, and a channel to it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from cilium_core.proto.batches_pb2 import Batch
from cilium_core.proto.observer_pb2 import GetFlowsRequest, GetFlowsResponse
from cilium_hubble.cli.configfile import Merged
from cilium_hubble.cli.serverflags import Tls, server_of, tls_of
from cilium_hubble.errors import HubbleError

_OBSERVER = "/observer.Observer/"
_BATCHES = "/cilium.python.batches.v1.FlowBatches/GetFlows"


class ServerError(HubbleError):
    """The server is not there or refused; the text says which and why."""


@contextlib.contextmanager
def connect(arguments: argparse.Namespace) -> Iterator[Server]:
    """Open a channel for a block; ServerError for what goes wrong in it."""
    settings = Merged(arguments)
    address = server_of(settings)
    with _channel(address, tls_of(settings)) as channel:
        try:
            yield Server(address, channel)
        except grpc.RpcError as error:
            raise ServerError(_reason(address, error)) from error


def _channel(address: str, tls: Tls) -> grpc.Channel:
    options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1)]
    if address.startswith("unix:") or not (tls.wanted or address.startswith("tls://")):
        return grpc.insecure_channel(address, options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    try:
        authorities = b"".join(Path(name).read_bytes() for name in tls.authorities) or None
        certificate = Path(tls.certificate).read_bytes() if tls.certificate else None
        key = Path(tls.key).read_bytes() if tls.key else None
    except OSError as error:
        raise ServerError(f"{error.filename}: {error.strerror}") from error
    if (certificate is None) != (key is None):
        raise ServerError("--tls-client-cert-file and --tls-client-key-file need each other")
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    return grpc.secure_channel(address.removeprefix("tls://"), credentials, options)


def _reason(address: str, error: Any) -> str:
    details = error.details() or error.code().name
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return f"failed to connect to '{address}': {details}"
    return f"{address}: {details}"


class Server:
    """A server's methods by name."""

    def __init__(self, address: str, channel: grpc.Channel) -> None:
        """Wrap an open channel."""
        self.address = address
        self.channel = channel

    def call(self, name: str, request: Any, response: Any, seconds: float) -> Any:
        """Call a unary method of the Observer; `response` is the answer's class."""
        method = self.channel.unary_unary(
            _OBSERVER + name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return method(request, timeout=seconds)

    def stream(self, name: str, request: Any, response: Any) -> Any:
        """Start a streaming method of the Observer; iterate over the result."""
        method = self.channel.unary_stream(
            _OBSERVER + name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return method(request)

    def flows(self, request: GetFlowsRequest) -> Iterator[GetFlowsResponse]:
        """Yield the answers of GetFlows, in batches on the way where the server has them.

        A follower of a node's own socket goes without: it would only hear often of nothing.
        """
        if not (request.follow and self.address.startswith("unix:")):
            method = self.channel.unary_stream(
                _BATCHES,
                request_serializer=GetFlowsRequest.SerializeToString,
                response_deserializer=Batch.FromString,
            )
            try:
                for batch in method(request):
                    yield from map(GetFlowsResponse.FromString, batch.responses)
                return
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    raise
        yield from self.stream("GetFlows", request, GetFlowsResponse)
