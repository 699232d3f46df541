# SPDX-License-Identifier: Apache-2.0
"""Names in the API, in `cilium-dbg` and in metrics."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from names_world import World
from policy_world import policy

from cilium_agent.api import fqdn
from cilium_agent.api.server import serve_api
from cilium_agent.dbg import fqdn as commands
from cilium_agent.dbg.client import Unreachable, get
from cilium_agent.metrics.collector import Renderer
from cilium_core.policy.decide import Verdict


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "names")
    made.say(*policy({"egress": [{"toFQDNs": [{"matchPattern": "*.test"}, {"matchName": "b.c"}]}]}))
    made.start()
    made.learn("a.test.", "192.0.2.1", "192.0.2.2")
    made.learn("old.test.", "192.0.2.9", ttl=1)
    made.learn("a.test.", "2001:db8::1", client=ip_address("10.0.0.8"))
    made.now += 2
    made.names.end()
    return made


class State:
    """What the API reads of the agent."""

    def __init__(self, world: World | None) -> None:
        self.names = world.names if world else None

    def endpoint_list(self) -> list[Any]:
        found = {"endpoint_id": 7, "pod_namespace": "x", "pod_name": "db", "container_id": "c"}
        return [argparse.Namespace(**found, interface="eth0", ipv4="10.0.0.7", ipv6=None)]


@pytest_asyncio.fixture
async def socket(world: World, tmp_path: Path) -> AsyncIterator[Path]:
    app = FastAPI()
    fqdn.add(app, State(world))  # type: ignore[arg-type]
    async with serve_api(app, tmp_path / "cilium.sock"):
        yield tmp_path / "cilium.sock"


async def ask(socket: Path, path: str) -> Any:
    return await asyncio.to_thread(get, path, where=socket)


async def run(socket: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", type=Path, default=socket)
    commands.add(parser.add_subparsers())
    arguments = parser.parse_args(words)
    code = await asyncio.to_thread(arguments.run, arguments)
    return code, capsys.readouterr().out


async def test_the_cache_in_upstreams_form(socket: Path) -> None:
    listed = await ask(socket, "/fqdn/cache")
    assert [(e["endpoint-id"], e["fqdn"], e["source"], e["ttl"], e["ips"]) for e in listed] == [
        (7, "a.test.", "lookup", 60, ["192.0.2.1", "192.0.2.2"]),
        (7, "old.test.", "connection", 0, ["192.0.2.9"]),
        (8, "a.test.", "lookup", 60, ["2001:db8::1"]),
    ]
    assert listed[0]["lookup-time"] == "1970-01-01T00:16:40.000Z"
    assert listed[0]["expiration-time"] == "1970-01-01T00:17:40.000Z"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?matchpattern=old.*", 1),
        ("?matchpattern=A.TEST.", 2),
        ("?cidr=192.0.2.0/30", 1),
        ("?source=connection", 1),
        ("/7", 2),
        ("/pod-name:x:db?source=lookup", 1),
    ],
)
async def test_the_cache_in_part(socket: Path, query: str, count: int) -> None:
    assert len(await ask(socket, f"/fqdn/cache{query}")) == count


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?matchpattern=(", "matchpattern"),
        ("?cidr=nonsense", "cidr"),
        ("?source=dns", "source"),
        ("/99", "no endpoint 99"),
    ],
)
async def test_what_cannot_be_asked_is_named(socket: Path, query: str, said: str) -> None:
    with pytest.raises(Unreachable, match=said):
        await ask(socket, f"/fqdn/cache{query}")


async def test_before_names_are_up(tmp_path: Path) -> None:
    app = FastAPI()
    fqdn.add(app, State(None))  # type: ignore[arg-type]
    async with serve_api(app, tmp_path / "cilium.sock"):
        with pytest.raises(Unreachable, match="503 names are not up yet"):
            await ask(tmp_path / "cilium.sock", "/fqdn/names")


async def test_the_commands(socket: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = await run(socket, capsys, "fqdn", "cache", "list", "-p", "a.*", "-e", "7")
    assert code == 0
    head, row = text.splitlines()
    assert head.split() == ["Endpoint", "Source", "FQDN", "TTL", "ExpirationTime", "IPs"]
    assert row.split() == [
        *("7", "lookup", "a.test.", "60", "1970-01-01T00:17:40.000Z", "192.0.2.1,192.0.2.2")
    ]
    _, text = await run(socket, capsys, "fqdn", "cache", "list", "-o", "json")
    assert len(json.loads(text)) == 3
    _, text = await run(socket, capsys, "fqdn", "names")
    assert json.loads(text)["FQDNPolicySelectors"] == [
        {
            "regexString": "^[-a-z0-9_]*\\.test$",
            "selectorString": "MatchName: , MatchPattern: *.test",
        },
        {"regexString": "^b\\.c$", "selectorString": "MatchName: b.c, MatchPattern: "},
    ]
    assert world.verdict("192.0.2.9") is Verdict.ALLOW
    code, text = await run(socket, capsys, "fqdn", "cache", "clean", "-f", "-p", "old.*")
    assert (code, text) == (0, "FQDN proxy cache cleared\n")
    assert world.verdict("192.0.2.9") is Verdict.DENY
    assert world.verdict("192.0.2.1") is Verdict.ALLOW


def test_metrics(world: World) -> None:
    from cilium_agent.config import Settings
    from cilium_agent.state import AgentState

    state = AgentState(Settings(node_name="n"))
    state.names = world.names
    world.names.clean([(7, ("a.test", ip_address("192.0.2.2")))])
    lines = Renderer(state).render().decode().splitlines()
    found = {line for line in lines if line.startswith("cilium_fqdn")}
    assert found == {
        'cilium_fqdn_active_names{endpoint="7"} 1.0',
        'cilium_fqdn_active_names{endpoint="8"} 1.0',
        'cilium_fqdn_active_ips{endpoint="7"} 1.0',
        'cilium_fqdn_active_ips{endpoint="8"} 1.0',
        'cilium_fqdn_alive_zombie_connections{endpoint="7"} 1.0',
        'cilium_fqdn_alive_zombie_connections{endpoint="8"} 0.0',
        "cilium_fqdn_gc_deletions_total 1.0",
        "cilium_fqdn_selectors 2.0",
    }
