# SPDX-License-Identifier: Apache-2.0
"""Serves the node's state on a unix socket: a snapshot or a resumption, then every change.

A consumer that stops reading holds back its own stream only: what it gets next is read from the
log when it is ready, and a log that has gone over it makes a snapshot. Event loop only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import grpc

from cilium_agent import sockets
from cilium_agent.nodestate.encode import change
from cilium_agent.nodestate.facts import Fact
from cilium_agent.nodestate.state import Change
from cilium_core.proto import nodestate_pb2 as pb

SERVICE = "cilium.python.nodestate.v1.NodeState"
PIECE = 100  # changes in one message


class Source(Protocol):
    """Who holds the state; `NodeState` is one."""

    @property
    def epoch(self) -> str: ...

    async def opened(self) -> None: ...

    def snapshot(self) -> tuple[int, list[Fact]]: ...

    def since(self, revision: int) -> list[Change] | None: ...

    async def wait(self, revision: int) -> None: ...


def handler(source: Source) -> grpc.GenericRpcHandler:
    """Return the service for a server."""

    async def watch(request: pb.WatchRequest, _context: Any) -> AsyncIterator[pb.Update]:
        await source.opened()
        position = request.revision if request.epoch == source.epoch else None
        while True:
            changes = source.since(position) if position is not None else None
            if position is None or changes is None:
                position, facts = source.snapshot()
                for update in _snapshot(source.epoch, position, facts):
                    yield update
            for start in range(0, len(changes or ()), PIECE):
                piece = (changes or [])[start : start + PIECE]
                position += len(piece)
                yield _update(source.epoch, position, pb.Update.DELTA, piece)
            await source.wait(position)

    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        watch,
        request_deserializer=pb.WatchRequest.FromString,
        response_serializer=pb.Update.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Watch": method})


def serve(path: Path, source: Source) -> AbstractAsyncContextManager[None]:
    """Serve on a unix socket that only root may use; a stale socket file is replaced."""
    return sockets.serve(path, handler(source), 0o660)


def _snapshot(epoch: str, revision: int, facts: Sequence[Fact]) -> list[pb.Update]:
    """Return the pieces of a snapshot; one at least: the last one says that it is complete."""
    pieces = [facts[start : start + PIECE] for start in range(0, len(facts), PIECE)] or [[]]
    updates = [
        _update(epoch, revision, pb.Update.SNAPSHOT, [Change(fact) for fact in piece])
        for piece in pieces
    ]
    updates[-1].kind = pb.Update.SNAPSHOT_END
    return updates


def _update(
    epoch: str, revision: int, kind: pb.Update.Kind, changes: Sequence[Change]
) -> pb.Update:
    messages = [change(entry.fact, removed=entry.removed) for entry in changes]
    return pb.Update(epoch=epoch, revision=revision, kind=kind, changes=messages)
