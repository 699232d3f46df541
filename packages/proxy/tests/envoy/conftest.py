# SPDX-License-Identifier: Apache-2.0
"""One world for a module: namespaces, the real Envoy, the controller, an agent and a hubble."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from envoy_world import World
from proxy_fakes import FakeAgent, FakeHubble

from cilium_core.proto import access_pb2
from cilium_core.proto import proxy_pb2 as pb


class Harness:
    """A world with an agent and a hubble on a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.world = World(folder)
        self._revision = 0
        self.agent = FakeAgent(folder / "proxies.sock")
        self.hubble = FakeHubble(folder / "access.sock")
        self.wait(self.agent.__aenter__())
        self.wait(self.hubble.__aenter__())

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop of the agent."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def put(self, n: int, *rules: pb.Rule, **fields: Any) -> str:
        """Have rule set n hold these rules; return the error once it is settled."""
        revision = self.begin(n, *rules, **fields)
        return self.settled(n, revision)

    def begin(self, n: int, *rules: pb.Rule, **fields: Any) -> int:
        """Send rule set n and return its revision without waiting."""
        self._revision += 1
        fields = {"name": f"set-{n}", "direction": 2, "kind": pb.HTTP, **fields}
        made = pb.RuleSet(port=10000 + n, revision=self._revision, rules=rules, **fields)
        self.wait(self.agent.send(made))
        return self._revision

    def settled(self, n: int, revision: int) -> str:
        """Return the error of a rule set at a revision, once it is known."""
        return self.wait(self.agent.result(10000 + n, revision)).error

    def remove(self, n: int) -> None:
        """Remove rule set n and wait until the proxy has said so."""
        self._revision += 1
        self.wait(
            self.agent.send(pb.RuleSet(port=10000 + n, revision=self._revision, removed=True))
        )
        self.wait(self.agent.result(10000 + n, self._revision))

    def records(self, holds: Callable[[access_pb2.Record], bool], count: int) -> list[Any]:
        """Wait until there are so many records of a kind, and return them."""
        found = lambda: [r for r in list(self.hubble.records) if holds(r)]  # noqa: E731
        self.world.until(lambda: len(found()) >= count)
        return found()

    def memory(self) -> int:
        """Return the bytes that Envoy has in memory."""
        statm = Path(f"/proc/{self.world.processes['envoy'].pid}/statm")
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End everything."""
        self.world.close()
        for fake in (self.agent, self.hubble):
            self.wait(fake.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """A harness whose controller and Envoy run; rule sets stay from test to test."""
    harness = Harness(tmp_path_factory.mktemp("run"))
    try:
        harness.world.start_controller()
        harness.world.start_envoy()
        yield harness
    finally:
        harness.close()
