# SPDX-License-Identifier: Apache-2.0
"""Takes the DNS proxy's answers on a unix socket; replies when the kernel knows the addresses.

A plain stream and no gRPC: a pod waits for each reply, and a call of gRPC costs ten times what the
work does. What has come together is learned together. Before `open` answers wait. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from cilium_agent import sockets
from cilium_agent.fqdn.names import Answer, Names
from cilium_core.errors import CiliumError
from cilium_core.frames import Frames, TooLong, framed
from cilium_core.proto import proxy_pb2 as pb

log = structlog.get_logger(__name__)

MODE = 0o660


class NameServer:
    """The connections of this node's proxies (one, or two while one replaces the other)."""

    def __init__(self, names: Names) -> None:
        """Serve `names`; closed at first."""
        self.names = names
        self.is_open = False
        self.failures = 0
        self._connections: set[_Connection] = set()

    def open(self) -> None:
        """Policy is in the kernel: answer what has come, and from now on at once."""
        self.is_open = True
        for connection in list(self._connections):
            connection.work()

    @contextlib.asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Serve on a socket that only root may use; a stale socket file is replaced."""
        sockets.make_way(path)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Connection(self), str(path))
        os.chmod(path, MODE)
        try:
            yield
        finally:
            server.close()
            for connection in list(self._connections):
                connection.close()

    def learn(self, answers: list[pb.Answer]) -> list[pb.Learned]:
        """Learn what came together; errors are in the replies."""
        read: list[tuple[int, Answer]] = []
        replies = [pb.Learned(number=answer.number) for answer in answers]
        for index, answer in enumerate(answers):
            try:
                read.append((index, _read(answer)))
            except ValueError as error:
                replies[index].error = str(error)
        try:
            told = self.names.learn(answer for _, answer in read)
        except CiliumError as error:
            self.failures += 1
            log.warning("the kernel has not taken names", error=str(error))
            for index, _ in read:
                replies[index].error = str(error)
        else:
            for (index, _), selected in zip(read, told, strict=True):
                replies[index].selected = selected
        return replies

    def connected(self, connection: _Connection) -> None:
        """Take a connection in."""
        self._connections.add(connection)

    def lost(self, connection: _Connection) -> None:
        """Let go of a connection."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One proxy."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.lost(self)

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)
        self.work()

    def work(self) -> None:
        if not self._server.is_open or self._transport is None:
            return
        try:
            answers = [pb.Answer.FromString(body) for body in self._frames.take()]
        except (TooLong, DecodeError) as error:
            log.error("a proxy sends what is no answer", error=str(error))
            self.close()
            return
        if answers:
            replies = self._server.learn(answers)
            self._transport.write(b"".join(framed(r.SerializeToString()) for r in replies))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _read(answer: pb.Answer) -> Answer:
    addresses = tuple(ip_address(text) for text in answer.addresses)
    return Answer(ip_address(answer.client), answer.name, addresses, answer.ttl_seconds)
