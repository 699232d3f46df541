# SPDX-License-Identifier: Apache-2.0
"""A port of this machine that leads to a port of a pod, through the API server.

One websocket a connection: each binary message is a byte of channel (0 data, 1 errors) and its
payload; the first message of each channel is the port again. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from cilium_cli.errors import ApiError, CliError

DATA, ERRORS = 0, 1
CHUNK = 64 << 10

Socket = aiohttp.ClientWebSocketResponse[Any]
Opener = Callable[[], Awaitable[Socket]]


async def listen(
    port: int, opener: Opener, complain: Callable[[str], None], host: str = "127.0.0.1"
) -> asyncio.Server:
    """Listen and lead each connection to what `opener` opens; `complain` hears what went wrong.

    CliError when the port is taken.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _lead(reader, writer, await opener())
        except (CliError, OSError, aiohttp.ClientError) as error:
            complain(str(error))
        finally:
            writer.close()

    try:
        return await asyncio.start_server(serve, host, port)
    except OSError as error:
        raise CliError(f"cannot listen at {host}:{port}: {error.strerror}") from error


async def _lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: Socket) -> None:
    up = asyncio.create_task(_up(reader, socket))
    try:
        await _down(socket, writer)
    finally:
        up.cancel()
        await asyncio.wait({up})
        await socket.close()


async def _up(reader: asyncio.StreamReader, socket: Socket) -> None:
    while data := await reader.read(CHUNK):
        await socket.send_bytes(bytes([DATA]) + data)
    await socket.close()


async def _down(socket: Socket, writer: asyncio.StreamWriter) -> None:
    begun: set[int] = set()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, payload = message.data[0], message.data[1:]
        if channel not in begun:
            begun.add(channel)  # two bytes of port
            payload = payload[2:]
        if channel == ERRORS and payload:
            raise ApiError(payload.decode(errors="replace").strip())
        if channel == DATA and payload:
            writer.write(payload)
            await writer.drain()
