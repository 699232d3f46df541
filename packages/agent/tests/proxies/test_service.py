# SPDX-License-Identifier: Apache-2.0
"""The socket that proxies follow: the world first, then changes, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
from redirect_fakes import FakeRedirects

from cilium_agent.proxies.rulesets import RuleSets
from cilium_agent.proxies.service import SERVICE, serve
from cilium_core.policy.redirects import RuleSet
from cilium_core.policy.rules import Direction, L7Kind, L7Rules, Origin, PortRange, Protocol, Rule
from cilium_core.policy.tables import RowKey
from cilium_core.proto import proxy_pb2 as pb

from .test_rulesets import AT, OTHER, rules

HEADER = (("mismatch", "LOG"), ("name", "X"), ("secret", (("name", "s"), ("namespace", "x"))))
ROWS = {
    L7Kind.HTTP: (("headerMatches", (HEADER,)), ("headers", ("A b",)), ("method", "GET")),
    L7Kind.DNS: (("matchPattern", "*.example.com"),),
    L7Kind.KAFKA: (("apiKey", "produce"), ("topic", "t")),
    L7Kind.SNI: (("name", "*.example.com"),),
}
MESSAGES = {
    L7Kind.HTTP: pb.Rule(
        http=pb.HttpRule(
            method="GET",
            headers=["A b"],
            header_matches=[pb.HeaderMatch(name="X", mismatch="LOG", secret="x/s")],
        )
    ),
    L7Kind.DNS: pb.Rule(dns=pb.DnsRule(match_pattern="*.example.com")),
    L7Kind.KAFKA: pb.Rule(kafka=pb.KafkaRule(api_key="produce", topic="t")),
    L7Kind.SNI: pb.Rule(server_name="*.example.com"),
}


@contextlib.asynccontextmanager
async def following(path: Path, *serves: int) -> AsyncIterator[grpc.aio.StreamStreamCall]:
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = channel.stream_stream(
            f"/{SERVICE}/Follow",
            request_serializer=pb.Report.SerializeToString,
            response_deserializer=pb.Update.FromString,
        )()
        await call.write(pb.Report(serves=serves))
        yield call
        call.cancel()


def want(book: RuleSets, changes) -> None:
    book.take_in(changes)
    book.before_rows()
    book.after_rows()


async def test_the_world_then_changes_and_results(tmp_path: Path) -> None:
    kernel = FakeRedirects()
    book = RuleSets(kernel)
    led = asyncio.Event()
    book.on_force = led.set
    want(book, {AT: rules()})
    path = tmp_path / "proxies.sock"
    async with serve(path, book):
        assert path.stat().st_mode & 0o777 == 0o600
        async with following(path, pb.HTTP) as call:
            world = await call.read()
            assert (world.snapshot, world.complete) == (True, True)
            (first,) = world.rule_sets
            assert (first.kind, first.direction) == (pb.HTTP, 2)
            assert list(first.origins) == ["CiliumNetworkPolicy x/p spec.egress[0]"]
            result = pb.Result(port=first.port, revision=first.revision)
            await call.write(pb.Report(results=[result]))
            await led.wait()
            assert kernel.led
            want(book, {OTHER: rules(kind=L7Kind.KAFKA), AT: rules("/b")})
            (edited,) = (await call.read()).rule_sets
            assert edited.port == first.port
            assert edited.revision > first.revision
            want(book, {AT: None})
            (gone,) = (await call.read()).rule_sets
            assert (gone.port, gone.removed) == (first.port, True)
        async with following(path, pb.KAFKA, pb.DNS) as call:
            assert [held.kind for held in (await call.read()).rule_sets] == [pb.KAFKA]


async def test_every_kind_of_rule(tmp_path: Path) -> None:
    book = RuleSets(FakeRedirects())
    for number, (kind, fields) in enumerate(ROWS.items()):
        row = RowKey(5, Direction.EGRESS, 6, number, 16)
        ports = frozenset({PortRange(Protocol.TCP, number, number)})
        for_kind = L7Rules(kind, frozenset({fields}))
        rule = Rule(Direction.EGRESS, False, None, ports, for_kind, Origin("K", "x", "p"))
        want(book, {(row, 0): RuleSet(Direction.EGRESS, frozenset({rule}), True)})
    async with (
        serve(tmp_path / "proxies.sock", book),
        following(tmp_path / "proxies.sock", *pb.Kind.values()) as call,
    ):
        world = await call.read()
    assert [held.rules[0] for held in world.rule_sets] == list(MESSAGES.values())
    assert all(held.everything for held in world.rule_sets)
