# SPDX-License-Identifier: Apache-2.0
"""The names' socket: replies in order and only when open, errors in replies, what is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import uvloop
from names_world import World
from policy_world import policy

from cilium_agent.fqdn.service import MODE, NameServer
from cilium_core.frames import LONGEST, framed
from cilium_core.policy.decide import Verdict
from cilium_core.proto import proxy_pb2 as pb


class Proxy:
    """The other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, number: int, name: str, *addresses: str, client: str = "10.0.0.7") -> None:
        answer = pb.Answer(
            client=client, name=name, addresses=addresses, ttl_seconds=60, number=number
        )
        self.writer.write(framed(answer.SerializeToString()))

    async def read(self) -> pb.Learned:
        size = int.from_bytes(await self.reader.readexactly(4))
        return pb.Learned.FromString(await self.reader.readexactly(size))


class Served:
    def __init__(self, path: Path) -> None:
        self.world = World(path / "names")
        self.world.say(*policy({"egress": [{"toFQDNs": [{"matchPattern": "*.test"}]}]}))
        self.world.start()
        self.server = NameServer(self.world.names)
        self.path = path / "names.sock"

    async def proxy(self) -> Proxy:
        return Proxy(*await asyncio.open_unix_connection(str(self.path)))


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    async with made.server.serve(made.path):
        yield made
    made.world.journal.close()


async def test_a_reply_comes_when_the_kernel_knows(served: Served) -> None:
    served.server.open()
    proxy = await served.proxy()
    proxy.send(1, "a.test.", "192.0.2.1")
    proxy.send(2, "other.", "192.0.2.2")
    first, second = await proxy.read(), await proxy.read()
    assert (first.number, first.selected, first.error) == (1, True, "")
    assert (second.number, second.selected) == (2, False)
    assert served.world.verdict("192.0.2.1") is Verdict.ALLOW
    assert served.path.stat().st_mode & 0o777 == MODE


async def test_answers_wait_until_policy_is_in_force(served: Served) -> None:
    proxy = await served.proxy()
    proxy.send(1, "a.test.", "192.0.2.1")
    await asyncio.sleep(0.05)
    assert served.world.verdict("192.0.2.1") is Verdict.DENY
    served.server.open()
    assert (await proxy.read()).selected
    assert served.world.verdict("192.0.2.1") is Verdict.ALLOW


async def test_errors_are_in_the_replies(served: Served) -> None:
    served.server.open()
    proxy = await served.proxy()
    served.world.rows.refuse = True
    proxy.send(1, "a.test.", "192.0.2.1")
    assert "full" in (await proxy.read()).error
    served.world.rows.refuse = False
    proxy.send(2, "a.test.", "192.0.2.300")
    proxy.send(3, "a.test.", "192.0.2.3")
    assert "192.0.2.300" in (await proxy.read()).error
    assert (await proxy.read()).selected
    assert served.world.verdict("192.0.2.1") is Verdict.ALLOW  # made up for
    assert served.server.failures == 1


async def test_a_stream_that_cannot_be_read_ends(served: Served) -> None:
    served.server.open()
    for wrong in ((LONGEST + 1).to_bytes(4), framed(b"\xff\xff\xff")):
        proxy = await served.proxy()
        proxy.writer.write(wrong)
        assert await proxy.reader.read() == b""
    proxy = await served.proxy()
    for byte in framed(pb.Answer(number=7, client="10.0.0.7", name="a.test").SerializeToString()):
        proxy.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await proxy.read()).number == 7


def test_on_the_loop_that_the_agent_runs_on(tmp_path: Path) -> None:
    async def talk() -> pb.Learned:
        served = Served(tmp_path)
        served.server.open()
        async with served.server.serve(served.path):
            proxy = await served.proxy()
            proxy.send(1, "a.test.", "192.0.2.1")
            return await proxy.read()

    assert uvloop.run(talk()).selected
