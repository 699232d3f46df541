# SPDX-License-Identifier: Apache-2.0
"""Which server, and a channel to it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

import grpc

from cilium_hubble.cli.serverflags import default_server
from cilium_hubble.errors import HubbleError

_OBSERVER = "/observer.Observer/"


class ServerError(HubbleError):
    """The server is not there or refused; the text says which and why."""


@contextlib.contextmanager
def connect(arguments: argparse.Namespace) -> Iterator[Server]:
    """Open a channel for a block; ServerError for what goes wrong in it."""
    address = arguments.server or default_server()
    if address.startswith("tls://"):
        raise ServerError(f"{address}: TLS is not available in this version; use host:port")
    with grpc.insecure_channel(address) as channel:
        try:
            yield Server(address, channel)
        except grpc.RpcError as error:
            raise ServerError(_reason(address, error)) from error


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
