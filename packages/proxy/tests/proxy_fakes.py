# SPDX-License-Identifier: Apache-2.0
"""An agent that serves rule sets, and short ways to write them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cilium_core.proto import access_pb2
from cilium_core.proto import proxy_pb2 as pb

SERVICE = "cilium.python.proxy.v1.Proxies"


def http(**fields: Any) -> pb.Rule:
    """Return one HTTP rule; without fields it matches every request."""
    return pb.Rule(http=pb.HttpRule(**fields))


def rule_set(port: int, revision: int = 1, rules: Sequence[pb.Rule] = (), **fields: Any) -> Any:
    """Return a rule set at egress, of HTTP unless `kind` says otherwise."""
    fields = {"name": f"set-{port}", "direction": 2, "kind": pb.HTTP, **fields}
    return pb.RuleSet(port=port, revision=revision, rules=rules, **fields)


def gone(port: int, revision: int = 9) -> pb.RuleSet:
    """Return the message that removes a rule set."""
    return pb.RuleSet(port=port, revision=revision, removed=True)


class FakeAgent:
    """Serves Follow: a snapshot of `sets` to each proxy, then what `send` is given."""

    def __init__(self, socket: Path, *sets: pb.RuleSet) -> None:
        """Serve on `socket` once started."""
        self.sets = {entry.port: entry for entry in sets}
        self.serves: list[list[int]] = []
        self.results: list[pb.Result] = []
        self.connections = 0
        self._socket = socket
        self._out: list[asyncio.Queue[pb.Update]] = []
        self._heard = asyncio.Condition()
        self._server: Any = None

    async def __aenter__(self) -> FakeAgent:
        """Start."""
        self._socket.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        method: Any = grpc.stream_stream_rpc_method_handler(
            self._follow,
            request_deserializer=pb.Report.FromString,
            response_serializer=pb.Update.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Follow": method})
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Die."""
        await self._server.stop(0)

    async def send(self, *sets: pb.RuleSet) -> None:
        """Send changes to whoever follows."""
        for entry in sets:
            self.sets.pop(entry.port, None)
            if not entry.removed:
                self.sets[entry.port] = entry
        for queue in self._out:
            queue.put_nowait(pb.Update(rule_sets=sets))

    async def result(self, port: int, revision: int, seconds: float = 10.0) -> pb.Result:
        """Wait until a rule set is reported at a revision."""

        def found() -> list[pb.Result]:
            return [r for r in self.results if (r.port, r.revision) == (port, revision)]

        async with self._heard:
            await asyncio.wait_for(self._heard.wait_for(lambda: bool(found())), seconds)
        return found()[-1]

    async def _follow(self, reports: AsyncIterator[pb.Report], context: Any) -> None:
        first = await anext(reports)
        self.serves.append(list(first.serves))
        self.connections += 1
        queue: asyncio.Queue[pb.Update] = asyncio.Queue()
        whole = list(self.sets.values())
        half = len(whole) // 2
        queue.put_nowait(pb.Update(snapshot=True, rule_sets=whole[:half]))
        queue.put_nowait(pb.Update(snapshot=True, complete=True, rule_sets=whole[half:]))
        self._out.append(queue)
        hearing = asyncio.ensure_future(self._hear(reports))
        try:
            while True:
                await context.write(await queue.get())
        finally:
            hearing.cancel()
            self._out.remove(queue)

    async def _hear(self, reports: AsyncIterator[pb.Report]) -> None:
        async for report in reports:
            async with self._heard:
                self.results.extend(report.results)
                self._heard.notify_all()


class FakeHubble:
    """Takes records."""

    def __init__(self, socket: Path, answers: bool = True) -> None:
        """Serve on `socket` once started; without `answers` say nothing."""
        self.records: list[access_pb2.Record] = []
        self.lost = 0
        self._socket = socket
        self._answers = answers
        self._news = asyncio.Event()
        self._server: Any = None

    async def __aenter__(self) -> FakeHubble:
        """Start."""
        self._socket.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        method: Any = grpc.stream_stream_rpc_method_handler(
            self._push,
            request_deserializer=access_pb2.Batch.FromString,
            response_serializer=access_pb2.Taken.SerializeToString,
        )
        name = "cilium.python.access.v1.AccessRecords"
        handler = grpc.method_handlers_generic_handler(name, {"Push": method})
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Die."""
        await self._server.stop(0)

    async def until(self, holds: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until something holds of the records."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def _push(self, batches: AsyncIterator[access_pb2.Batch], _context: Any) -> Any:
        async for batch in batches:
            self.records.extend(batch.records)
            self.lost += batch.lost
            self._news.set()
            if self._answers:
                yield access_pb2.Taken(number=batch.number)
