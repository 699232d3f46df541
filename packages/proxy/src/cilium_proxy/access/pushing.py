# SPDX-License-Identifier: Apache-2.0
"""Pushes records to hubble for ever, through restarts of hubble. Event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog

from cilium_core.proto import access_pb2
from cilium_proxy.access.buffer import Buffer

log = structlog.get_logger(__name__)

METHOD = "/cilium.python.access.v1.AccessRecords/Push"
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class Pusher:
    """One stream of records."""

    def __init__(self, socket: Path, buffer: Buffer) -> None:
        """Push what the buffer holds to the socket."""
        self.buffer = buffer
        self._socket = socket
        self._wake = asyncio.Event()
        self._answered = False

    def keep(self, records: Iterable[access_pb2.Record]) -> None:
        """Take records in, to be pushed as soon as may be."""
        self.buffer.add(records)
        self._wake.set()

    async def run(self) -> None:
        """Push; never returns."""
        delay, told = FIRST_RETRY_SECONDS, False
        while True:
            self._answered = False
            try:
                await self._stream()
                reason = "hubble ended the stream"
            except grpc.aio.AioRpcError as error:
                reason = error.details() or error.code().name
            if self._answered:
                delay, told = FIRST_RETRY_SECONDS, False
            if not told:  # once for each time that hubble goes away
                log.warning("hubble is away; records wait", reason=reason)
                told = True
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _stream(self) -> None:
        async with grpc.aio.insecure_channel(f"unix:{self._socket}", options=_OPTIONS) as channel:
            call = channel.stream_stream(
                METHOD,
                request_serializer=access_pb2.Batch.SerializeToString,
                response_deserializer=access_pb2.Taken.FromString,
            )()
            writer = asyncio.ensure_future(self._write(call))
            try:
                async for taken in call:
                    self._answered = True
                    self.buffer.taken(taken.number)
                    self._wake.set()
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        for unanswered in self.buffer.again():
            await call.write(unanswered)
        while True:
            self._wake.clear()
            while (batch := self.buffer.batch()) is not None:
                await call.write(batch)
            await self._wake.wait()
