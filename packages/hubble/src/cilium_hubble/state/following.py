# SPDX-License-Identifier: Apache-2.0
"""Follows the agent's node-state stream for ever, through restarts of the agent.

While the agent is away the directory keeps what it knew: pods go on, and so do their names.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import structlog

from cilium_core.proto import nodestate_pb2 as pb
from cilium_hubble.state.applying import Applier

log = structlog.get_logger(__name__)

METHOD = "/cilium.python.nodestate.v1.NodeState/Watch"
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0


async def follow(path: Path, applier: Applier) -> None:
    """Apply the stream of the socket at `path`; never returns."""
    delay = FIRST_RETRY_SECONDS
    while True:
        before = applier.revision, applier.epoch
        try:
            await _stream(path, applier)
            reason = "the agent ended the stream"
        except grpc.aio.AioRpcError as error:
            reason = error.details() or error.code().name
        if (applier.revision, applier.epoch) != before:
            delay = FIRST_RETRY_SECONDS
        if delay == FIRST_RETRY_SECONDS:  # once for each time that the agent goes away
            log.warning("node state is not available; trying until it is", reason=reason)
        await asyncio.sleep(delay)
        delay = min(2 * delay, LAST_RETRY_SECONDS)


async def _stream(path: Path, applier: Applier) -> None:
    # The agent's own socket: a message's size is what the node's policies are, not an attack.
    anything = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"unix:{path}", options=anything) as channel:
        watch = channel.unary_stream(
            METHOD,
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.Update.FromString,
        )
        async for update in watch(applier.begin()):
            applier.apply(update)
