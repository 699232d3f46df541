# SPDX-License-Identifier: Apache-2.0
"""gRPC services and clients built from the protos' descriptors, with their metrics.

VotingService has one method per emoji, so handlers and calls are made in a loop instead of by
generated stubs. Everything runs on the caller's asyncio loop; the metrics page is a thread of
prometheus-client.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from prometheus_client import Counter, Histogram, start_http_server

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"
Handler: TypeAlias = "Callable[[Message, Context], Awaitable[Message]]"

_HANDLED = Counter(
    "grpc_server_handled",
    "Calls that this server has finished, by outcome.",
    ["grpc_service", "grpc_method", "grpc_code"],
)
_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "Seconds that a call took in this server.",
    ["grpc_service", "grpc_method"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0),
)


def any_address() -> str:
    """The wildcard address to listen on: both families where the host has both."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"


def service(
    descriptor: ServiceDescriptor, handlers: Mapping[str, Handler]
) -> grpc.GenericRpcHandler:
    """All methods of a service, each counted; a method without a handler is a KeyError."""
    methods: dict[str, grpc.RpcMethodHandler[Message, Message]] = {}
    for method in descriptor.methods:
        methods[method.name] = grpc.unary_unary_rpc_method_handler(
            _counted(descriptor.full_name, method.name, handlers[method.name]),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _counted(service_name: str, method: str, handler: Handler) -> Handler:
    seconds = _SECONDS.labels(service_name, method)

    async def counted(request: Message, context: Context) -> Message:
        begun = time.monotonic()
        code = grpc.StatusCode.OK
        try:
            return await handler(request, context)
        except grpc.aio.AbortError:
            code = context.code() or grpc.StatusCode.UNKNOWN
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            _HANDLED.labels(service_name, method, code.name).inc()
            seconds.observe(time.monotonic() - begun)

    return counted


async def call(
    channel: grpc.aio.Channel, descriptor: ServiceDescriptor, method: str, request: Message
) -> Message:
    """One call with a deadline of 5 s; a failure is a `grpc.aio.AioRpcError`."""
    output = GetMessageClass(descriptor.methods_by_name[method].output_type)
    invoke: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
        f"/{descriptor.full_name}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=output.FromString,
    )
    response: Message = await invoke(request, timeout=5.0)
    return response


async def serve(handler: grpc.GenericRpcHandler, grpc_port: int, prom_port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish calls in flight for at most 2 s.

    The metrics page opens after the gRPC port does: its readiness is the service's.
    """
    server = grpc.aio.server(maximum_concurrent_rpcs=256)
    server.add_generic_rpc_handlers((handler,))
    host = any_address()
    server.add_insecure_port(f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}")
    await server.start()
    metrics, thread = start_http_server(prom_port, addr=host)
    print(f"serving gRPC on port {grpc_port}, metrics on port {prom_port}", flush=True)
    await until_told_to_stop()
    await server.stop(grace=2.0)
    await asyncio.to_thread(metrics.shutdown)
    thread.join(timeout=1.0)


async def until_told_to_stop() -> None:
    """Return when the process gets SIGTERM or SIGINT (as PID 1 it would else ignore them)."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
