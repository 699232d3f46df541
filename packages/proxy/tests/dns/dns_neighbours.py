# SPDX-License-Identifier: Apache-2.0
"""The proxy's neighbour for tests: an agent that also learns."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from proxy_fakes import SERVICE, FakeAgent, rule_set

from cilium_core.frames import framed
from cilium_core.proto import proxy_pb2 as pb


def dns_set(port: int, *patterns: str, revision: int = 1, **fields: Any) -> pb.RuleSet:
    """Return a set of DNS rules: names, and patterns where there is a star."""
    rules = [
        pb.Rule(dns=pb.DnsRule(**{"match_pattern" if "*" in text else "match_name": text}))
        for text in patterns
    ]
    return rule_set(port, revision, rules, kind=pb.DNS, **fields)


class Agent(FakeAgent):
    """Serves Follow, and takes answers. `delay` is how long the kernel takes."""

    def __init__(self, socket: Path, *sets: pb.RuleSet) -> None:
        """Serve on `socket` once started."""
        super().__init__(socket, *sets)
        self.path = socket
        self.delay = 0.0
        self.error = ""
        self.learned: list[tuple[pb.Answer, float]] = []

    async def __aenter__(self) -> Agent:
        """Start."""
        self.path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        follow: Any = grpc.stream_stream_rpc_method_handler(
            self._follow, pb.Report.FromString, pb.Update.SerializeToString
        )
        methods = {"Follow": follow}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()
        await self._take_names()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        self._names.close()
        for writer in self._writers:
            writer.close()
        await super().__aexit__(*_)

    async def _take_names(self) -> None:
        path = self.path.with_name("names.sock")
        path.unlink(missing_ok=True)
        self._writers: list[asyncio.StreamWriter] = []
        self._names = await asyncio.start_unix_server(self._connected, str(path))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(4))
                answer = pb.Answer.FromString(await reader.readexactly(size))
                asyncio.get_running_loop().call_later(self.delay, self._learn, answer, writer)

    def _learn(self, answer: pb.Answer, writer: asyncio.StreamWriter) -> None:
        self.learned.append((answer, time.monotonic()))
        reply = pb.Learned(selected=True, number=answer.number, error=self.error)
        writer.write(framed(reply.SerializeToString()))


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something to become true; fail when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        await asyncio.sleep(0.005)
