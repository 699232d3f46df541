# SPDX-License-Identifier: Apache-2.0
"""The real process between a real client and a real server, each in a network namespace (root)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
import pytest_asyncio
from dns_lab import CLIENT, SERVER, Lab, Proxy, inside, lab, run
from dns_neighbours import Agent, dns_set, until
from dns_servers import MANY, Server
from proxy_fakes import FakeHubble

from cilium_core.proto import flow_pb2 as flow

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

PORT = 10053
VERSIONS = pytest.mark.parametrize("version", [4, 6])
KINDS = pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])


@pytest.fixture(scope="module")
def places() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture(scope="module")
def server(places: Lab) -> Iterator[Server]:
    made = Server(places)
    yield made
    made.close()


@dataclass
class World:
    """All that a test needs."""

    lab: Lab
    server: Server
    agent: Agent
    hubble: FakeHubble
    proxy: Proxy
    start: Callable[..., Proxy]

    async def ask(self, name: str, rdtype: str = "A", **how: Any) -> dns.message.Message:
        """Ask as the client does; TimeoutError when nothing comes."""
        query = dns.message.make_query(name, rdtype, **how.pop("query", {}))
        wire = await self.exchange(query.to_wire(), **how)
        answer = dns.message.from_wire(wire)
        assert query.is_response(answer)
        return answer

    async def exchange(self, wire: bytes, **how: Any) -> bytes:
        """Send bytes, return the bytes that come back."""
        return await asyncio.to_thread(partial(exchange, self.lab, wire, **how))


def exchange(
    lab: Lab,
    wire: bytes,
    version: int = 4,
    kind: int = socket.SOCK_DGRAM,
    seconds: float = 3.0,
) -> bytes:
    with lab.socket(lab.client, version, kind) as client:
        client.settimeout(seconds)
        client.connect((SERVER[version], 53))  # so an answer of anybody else is not taken
        if kind == socket.SOCK_DGRAM:
            client.send(wire)
            return client.recv(65535)
        client.sendall(len(wire).to_bytes(2, "big") + wire)
        with client.makefile("rb") as reader:
            return reader.read(int.from_bytes(reader.read(2), "big"))


@pytest_asyncio.fixture
async def world(places: Lab, server: Server, tmp_path: Path) -> AsyncIterator[World]:
    rules = dns_set(PORT, "*.allowed.test", "Exact.Test", origins=["CNP shop/dns spec.egress[0]"])
    processes: list[Proxy] = []

    def start(**settings: str) -> Proxy:
        processes.append(Proxy(places.node, tmp_path, **settings))
        return processes[-1]

    async with (
        Agent(tmp_path / "proxies.sock", rules) as agent,
        FakeHubble(tmp_path / "access.sock") as hubble,
    ):
        proxy = start()
        assert (await agent.result(PORT, 1)).error == ""
        places.lead_to(PORT)
        server.asked.clear()
        server.clients.clear()
        yield World(places, server, agent, hubble, proxy, start)
        for process in processes:
            process.kill()
    print((tmp_path / "proxy.log").read_text())


@VERSIONS
@KINDS
async def test_what_is_allowed_is_asked_as_the_client(
    world: World, version: int, kind: int
) -> None:
    answer = await world.ask("Www.Allowed.Test", version=version, kind=kind)
    assert [item.address for item in answer.answer[0]] == ["192.0.2.1"]
    address, port = world.server.clients[-1]
    assert address == CLIENT[version]
    assert 61000 <= port <= 65535


@VERSIONS
@KINDS
@pytest.mark.parametrize("rdtype", ["A", "ANY"])
async def test_what_is_not_is_refused(world: World, version: int, kind: int, rdtype: str) -> None:
    answer = await world.ask("www.evil.test", rdtype, version=version, kind=kind)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not world.server.asked
    assert not world.agent.learned


async def test_refusals_can_be_nonexistence(world: World) -> None:
    world.proxy.kill()
    world.start(**{"tofqdns_dns_reject_response_code": "nameError"})
    await until(lambda: len(world.agent.results) > 1)
    assert (await world.ask("www.evil.test")).rcode() == dns.rcode.NXDOMAIN


async def test_the_agent_learns_before_the_client_does(world: World) -> None:
    world.proxy.kill()
    world.start(tofqdns_proxy_response_max_delay="5s")  # a busy machine is no slow agent
    await until(lambda: len(world.agent.results) > 1)
    world.agent.delay = 0.05
    for number in range(20):
        answer = await world.ask("changing.allowed.test")
        released = time.monotonic()
        address = answer.answer[0][0].address
        learned, when = world.agent.learned[-1]
        assert list(learned.addresses) == [address]
        assert when < released
        assert len(world.agent.learned) == number + 1
    assert (learned.client, learned.name) == (CLIENT[4], "changing.allowed.test.")
    assert learned.ttl_seconds == 60


async def test_a_slow_agent_delays_an_answer_and_no_more(world: World) -> None:
    world.agent.delay = 0.7
    began = time.monotonic()
    await world.ask("www.allowed.test")
    assert 0.09 < time.monotonic() - began < 0.5
    assert not world.agent.learned
    await until(lambda: bool(world.agent.learned))  # it was told all the same


async def test_without_the_agent_answers_come_and_it_is_told_when_it_is_back(
    world: World, tmp_path: Path
) -> None:
    await world.agent.__aexit__()
    began = time.monotonic()
    answer = await world.ask("changing.allowed.test")
    assert time.monotonic() - began < 1.0
    assert (await world.ask("no.evil.test")).rcode() == dns.rcode.REFUSED
    async with Agent(world.agent.path, *world.agent.sets.values()) as again:
        await until(lambda: bool(again.learned))
        assert list(again.learned[0][0].addresses) == [answer.answer[0][0].address]


@KINDS
async def test_aliases_and_negative_answers_come_through_unchanged(world: World, kind: int) -> None:
    for name in ("alias.allowed.test", "missing.allowed.test"):
        query = dns.message.make_query(name, "A").to_wire()
        expected = world.server.answer(dns.message.from_wire(query), tcp=False)
        assert await world.exchange(query, kind=kind) == expected
    assert [learned.ttl_seconds for learned, _ in world.agent.learned] == [30]


async def test_large_answers(world: World) -> None:
    """EDNS 4096 brings a large datagram, in fragments; without it, truncation and then TCP."""
    large = await world.ask("many.allowed.test", query={"use_edns": 0, "payload": 4096})
    assert len(large.answer[0]) == MANY
    assert len(large.to_wire()) > 1500
    short = await world.ask("many.allowed.test")
    assert short.flags & dns.flags.TC
    assert len(world.agent.learned) == 1
    whole = await world.ask("many.allowed.test", kind=socket.SOCK_STREAM)
    assert len(whole.answer[0]) == MANY
    ipv6 = await world.ask("many.allowed.test", query={"use_edns": 0, "payload": 4096}, version=6)
    assert len(ipv6.answer[0]) == MANY


async def test_false_answers_are_waited_past(world: World) -> None:
    answer = await world.ask("spoofed.allowed.test")
    assert [item.address for item in answer.answer[0]] == ["192.0.2.1"]
    assert [list(learned.addresses) for learned, _ in world.agent.learned] == [["192.0.2.1"]]


async def test_questions_are_pipelined(world: World) -> None:
    """The first answer is held back by the server; the second must not wait for it."""

    def talk() -> list[dns.message.Message]:
        with world.lab.socket(world.lab.client, 4, socket.SOCK_STREAM) as client:
            client.settimeout(3)
            client.connect((SERVER[4], 53))
            for name in ("later.allowed.test", "next.allowed.test", "bad.evil.test"):
                query = dns.message.make_query(name, "A", id=7)  # the same id for all of them
                client.sendall(len(query.to_wire()).to_bytes(2, "big") + query.to_wire())
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as reader:
                stream = reader.read()
        found = []
        while stream:
            size = int.from_bytes(stream[:2], "big")
            found.append(dns.message.from_wire(stream[2 : 2 + size]))
            stream = stream[2 + size :]
        return found

    replies = await asyncio.to_thread(talk)
    names = [reply.question[0].name.to_text().split(".")[0] for reply in replies]
    assert names == ["bad", "next", "later"]
    assert {reply.id for reply in replies} == {7}
    assert len(set(world.server.clients)) == 1


@KINDS
async def test_a_silent_server_is_silence_and_nobody_else_waits(world: World, kind: int) -> None:
    silent = asyncio.ensure_future(world.ask("silent.allowed.test", kind=kind, seconds=1))
    await world.ask("www.allowed.test", kind=kind)
    with pytest.raises(TimeoutError):
        await silent


@KINDS
async def test_a_server_that_is_not_there_is_a_failure(world: World, kind: int) -> None:
    world.server.close()
    try:
        answer = await world.ask("www.allowed.test", kind=kind)
        assert answer.rcode() == dns.rcode.SERVFAIL
    finally:
        fresh = Server(world.lab)
        world.server.__dict__.update(fresh.__dict__)


async def test_noise_does_no_harm(world: World) -> None:
    with contextlib.suppress(TimeoutError):
        await world.exchange(b"", seconds=0.1)
    noise = dns.message.make_query("www.allowed.test", "A").to_wire()
    assert dns.message.from_wire(await world.exchange(noise[:-1])).rcode() == dns.rcode.FORMERR
    for wire in (noise[:7], b"\xff" * 600):
        with pytest.raises(TimeoutError):
            await world.exchange(wire, seconds=0.2)
    with pytest.raises(TimeoutError):
        await world.exchange(b"\0" * 5, kind=socket.SOCK_STREAM, seconds=0.2)
    assert (await world.ask("www.allowed.test")).answer


async def test_rules_change_under_open_connections(world: World) -> None:
    with world.lab.socket(world.lab.client, 4, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        await asyncio.to_thread(client.connect, (SERVER[4], 53))
        assert await _over(client, "other.test") == dns.rcode.REFUSED
        await world.agent.send(dns_set(PORT, "other.test", revision=2))
        await world.agent.result(PORT, 2)
        assert await _over(client, "other.test") == dns.rcode.NOERROR
    bad = await world.ask("www.allowed.test")
    assert bad.rcode() == dns.rcode.REFUSED


async def test_a_server_that_ends_an_idle_connection_is_asked_again(world: World) -> None:
    with world.lab.socket(world.lab.client, 4, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        await asyncio.to_thread(client.connect, (SERVER[4], 53))
        for _ in range(3):
            assert await _over(client, "impatient.allowed.test") == dns.rcode.NOERROR
    assert len(set(world.server.clients)) == 3


async def test_addresses_of_an_error_are_not_learned(world: World) -> None:
    answer = await world.ask("failing.allowed.test")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert answer.answer
    assert not world.agent.learned


async def test_a_set_that_goes_closes_its_port(world: World) -> None:
    await world.agent.send(dns_set(PORT + 1, "*"))
    await world.agent.result(PORT + 1, 1)
    gone = dns_set(PORT, revision=2)
    gone.removed = True
    await world.agent.send(gone)
    await world.agent.result(PORT, 2)

    def ports() -> set[int]:
        return inside(world.lab.node, lambda: {p for p in (PORT, PORT + 1) if not _free(p)})

    await until(lambda: ports() == {PORT + 1})


async def test_a_port_that_is_taken_is_reported_and_the_others_work(world: World) -> None:
    with world.lab.socket(world.lab.node, 6, socket.SOCK_STREAM) as taken:
        taken.bind(("::1", PORT + 2))
        taken.listen()
        await world.agent.send(dns_set(PORT + 2, "*"), dns_set(PORT, "*.other.test", revision=2))
        assert "in use" in (await world.agent.result(PORT + 2, 1)).error
        assert (await world.agent.result(PORT, 2)).error == ""
    assert (await world.ask("www.other.test")).answer
    await world.agent.send(dns_set(PORT + 2, "*", revision=2))
    assert (await world.agent.result(PORT + 2, 2)).error == ""


async def test_servers_ports_are_free_again_at_once(world: World) -> None:
    for _ in range(5):
        await world.ask("www.allowed.test", kind=socket.SOCK_STREAM)
    await asyncio.sleep(0.1)
    words = ["ip", "netns", "exec", world.lab.node, "ss", "-tanH", "dport", "=", ":53"]
    assert "TIME-WAIT" not in run(*words)


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _over(client: socket.socket, name: str) -> int:
    def talk() -> int:
        wire = dns.message.make_query(name, "A").to_wire()
        client.sendall(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
        return int(dns.message.from_wire(client.recv(size, socket.MSG_WAITALL)).rcode())

    return await asyncio.to_thread(talk)


async def test_a_killed_proxy_is_back_soon_even_without_the_agent(world: World) -> None:
    await world.ask("www.allowed.test")
    await world.agent.__aexit__()
    world.proxy.kill()
    began = time.monotonic()
    world.start()
    lost = 0
    while True:
        try:
            answer = await world.ask("www.allowed.test", seconds=0.1)
            break
        except (TimeoutError, OSError):
            lost += 1
            assert time.monotonic() - began < 10
    assert answer.answer
    print(f"after kill -9: answers again after {time.monotonic() - began:.2f} s")


async def test_records(world: World) -> None:
    await world.ask("alias.allowed.test")
    await world.ask("www.evil.test", "AAAA", kind=socket.SOCK_STREAM, version=6)
    await until(lambda: len(world.hubble.records) == 3)
    asked, answered, refused = world.hubble.records
    for record in (asked, answered):
        assert (record.source, record.destination) == (CLIENT[4], SERVER[4])
        assert (record.destination_port, record.protocol, record.direction) == (53, 17, 2)
        assert record.proxy_port == PORT
        assert list(record.origins) == ["CNP shop/dns spec.egress[0]"]
        assert record.verdict == flow.FORWARDED
        assert record.l7.dns.query == "alias.allowed.test."
        assert list(record.l7.dns.qtypes) == ["A"]
    assert asked.l7.type == flow.REQUEST
    assert answered.l7.type == flow.RESPONSE
    assert answered.l7.latency_ns > 0
    dns_part = answered.l7.dns
    assert (list(dns_part.ips), dns_part.ttl) == (["192.0.2.1"], 30)
    assert list(dns_part.cnames) == ["www.example."]
    assert list(dns_part.rrtypes) == ["CNAME", "A"]
    assert (refused.verdict, refused.l7.type) == (flow.DROPPED, flow.REQUEST)
    assert (refused.source, refused.protocol) == (CLIENT[6], 6)


async def test_it_ends_when_it_is_asked_to(world: World) -> None:
    began = time.monotonic()
    assert world.proxy.end() == 0
    assert time.monotonic() - began < 3
