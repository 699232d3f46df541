# SPDX-License-Identifier: Apache-2.0
"""Follows one node's Peer service and keeps the pool's members.

While nobody tells, the members stay. A new stream tells of every node there is but does not say
when it has; whom it has not named after a while is gone. Event loop only.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cilium_core.proto import peer_pb2 as pb
from cilium_hubble.relay.dialing import Connection, Dialer
from cilium_hubble.relay.nodes import CHECK_TIMEOUT_SECONDS, Pool

log = structlog.get_logger(__name__)

METHOD = "/peer.Peer/Notify"
SETTLE_SECONDS = 5.0
CHECK_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.5


class PeerFollower:
    """One follower for the life of the process."""

    def __init__(
        self, pool: Pool, dial: Dialer, address: str, server_name: str, retry_seconds: float
    ) -> None:
        """`address` is a target of gRPC's; `retry_seconds` the longest pause between tries."""
        self._pool = pool
        self._dial = dial
        self._address = address
        self._server_name = server_name
        self._retry = retry_seconds
        self._named: set[str] = set()

    async def run(self) -> None:
        """Follow until cancelled."""
        delay = FIRST_RETRY_SECONDS
        while True:
            self._named = set()
            reason = await self._once()
            if self._named:
                delay = FIRST_RETRY_SECONDS
            log.warning("peers are not told", address=self._address, reason=reason, retry=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._retry)

    async def _once(self) -> str:
        """Follow one stream to its end; why it ended."""
        try:
            connection = self._dial.connect(self._address, self._server_name)
        except FileNotFoundError as error:
            return str(error)
        async with connection.channel:
            settling = asyncio.create_task(self._settle())
            parts = [
                asyncio.create_task(self._stream(connection.channel)),
                asyncio.create_task(self._watch(connection)),
            ]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for part in (settling, *parts):
                    part.cancel()
                await asyncio.wait({settling, *parts})
            return done.pop().result()

    async def _stream(self, channel: grpc.aio.Channel) -> str:
        method: Any = channel.unary_stream(
            METHOD,
            request_serializer=pb.NotifyRequest.SerializeToString,
            response_deserializer=pb.ChangeNotification.FromString,
        )
        try:
            async for change in method(pb.NotifyRequest()):
                self._apply(change)
        except grpc.aio.AioRpcError as error:
            return error.details() or error.code().name
        return "the node ended the stream"

    async def _watch(self, connection: Connection) -> str:
        """Return when the node does not answer any more, or its certificate wants a new dial."""
        stub = health_pb2_grpc.HealthStub(connection.channel)
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._dial.outdated(connection):
                return "there is a new certificate"
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=CHECK_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    return error.details() or error.code().name

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        if self._named:
            for name in self._pool.nodes.keys() - self._named:
                self._pool.remove(name)

    def _apply(self, change: pb.ChangeNotification) -> None:
        if change.type == pb.PEER_DELETED:
            self._named.discard(change.name)
            self._pool.remove(change.name)
        else:
            self._named.add(change.name)
            self._pool.put(change.name, change.address, change.tls.server_name)
