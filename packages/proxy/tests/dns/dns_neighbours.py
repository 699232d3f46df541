# SPDX-License-Identifier: Apache-2.0
"""The proxy's neighbour for tests: an agent that also learns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from proxy_fakes import SERVICE, FakeAgent, rule_set

from cilium_core.proto import proxy_pb2 as pb


def dns_set(port: int, *patterns: str, revision: int = 1, **fields: Any) -> pb.RuleSet:
    """Return a set of DNS rules: names, and patterns where there is a star."""
    rules = [
        pb.Rule(dns=pb.DnsRule(**{"match_pattern" if "*" in text else "match_name": text}))
        for text in patterns
    ]
    return rule_set(port, revision, rules, kind=pb.DNS, **fields)


class Agent(FakeAgent):
    """Serves Follow and Learn. `delay` is how long the kernel takes."""

    def __init__(self, socket: Path, *sets: pb.RuleSet) -> None:
        """Serve on `socket` once started."""
        super().__init__(socket, *sets)
        self.path = socket
        self.delay = 0.0
        self.learned: list[tuple[pb.Answer, float]] = []

    async def __aenter__(self) -> Agent:
        """Start."""
        self.path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        follow: Any = grpc.stream_stream_rpc_method_handler(
            self._follow, pb.Report.FromString, pb.Update.SerializeToString
        )
        learn: Any = grpc.unary_unary_rpc_method_handler(
            self._learn, pb.Answer.FromString, pb.Learned.SerializeToString
        )
        methods = {"Follow": follow, "Learn": learn}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()
        return self

    async def _learn(self, answer: pb.Answer, _context: Any) -> pb.Learned:
        await asyncio.sleep(self.delay)
        self.learned.append((answer, time.monotonic()))
        return pb.Learned(selected=True)


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something to become true; fail when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        await asyncio.sleep(0.005)
