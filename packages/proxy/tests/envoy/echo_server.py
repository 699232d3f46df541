# SPDX-License-Identifier: Apache-2.0
"""The test's server: HTTP/1.1 that tells what it got, WebSocket-like upgrades, gRPC on 8004.

Every port from 8001 to 8010 but 8004 and the recorder's 8007, and 8100 behind no rule set.
"""

from __future__ import annotations

import asyncio
import json

import grpc
import grpc.aio

GRPC, RECORDER = 8004, 8007


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await answer(head.decode("latin-1"), reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first, *lines = head.split("\r\n")[:-2]
    headers = [line.split(": ", 1) for line in lines]
    found = {name.lower(): value for name, value in headers}
    if found.get("upgrade") == "websocket":
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(4096):
            writer.write(data)
        return
    size = int(found.get("content-length", "0"))
    left = size
    while left:
        left -= len(await reader.read(min(left, 1 << 20)))
    peer = writer.get_extra_info("peername")[:2]
    told = {"line": first, "headers": headers, "peer": peer, "size": size}
    body = json.dumps(told).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nServer: mine\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    await writer.drain()


async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo(requests, _context):
    async for request in requests:
        yield request


async def once(request, _context):
    return request


async def count(request, _context):
    for number in range(int(request)):
        yield b"%d" % number
        await asyncio.sleep(0.1)


async def together(requests, context):
    context.set_trailing_metadata((("x-tail", "1"),))
    return b"".join([request async for request in requests])


async def main() -> None:
    for port in [*range(8001, 8011), 8100]:
        if port not in (GRPC, 8005, RECORDER):
            await asyncio.start_server(serve, None, port)
    await asyncio.start_server(raw, None, 8005)
    server = grpc.aio.server()
    methods = {
        "Stream": grpc.stream_stream_rpc_method_handler(echo),
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Together": grpc.stream_unary_rpc_method_handler(together),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    server.add_insecure_port(f"[::]:{GRPC}")
    await server.start()
    await asyncio.Event().wait()


asyncio.run(main())
