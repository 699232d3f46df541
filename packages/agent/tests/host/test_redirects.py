# SPDX-License-Identifier: Apache-2.0
"""Rules and tables that hand marked packets to the node's own sockets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest
from pyroute2 import IPRoute

from cilium_agent.host import redirects, sysctl
from cilium_agent.host.netns import on_node

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("node")]
BOTH = (AF_INET, AF_INET6)


def ip(*words: str) -> list[dict]:
    done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=False)
    return json.loads(done.stdout or "[]") if done.returncode == 0 else []  # no such table


def ours(family: int) -> tuple[list[dict], list[dict]]:
    """Return the rules and routes of a family (4 or 6)."""
    rules = [rule for rule in ip(f"-{family}", "rule", "show") if rule.get("table") == "2004"]
    return rules, ip(f"-{family}", "route", "show", "table", "2004")


async def test_both_families_again_and_away() -> None:
    def put(route: IPRoute) -> None:
        route.link("set", index=1, state="up")
        redirects.sync(route, BOTH)
        redirects.sync(route, BOTH)

    await on_node("put", put)
    for family in (4, 6):
        (rule,), (route,) = ours(family)
        assert (rule["priority"], rule["fwmark"], rule["fwmask"]) == (9, "0x200", "0xf00")
        assert (route["type"], route["dst"], route["dev"]) == ("local", "default", "lo")
    await on_node("remove", redirects.remove)
    await on_node("remove again", redirects.remove)
    assert [ours(family) for family in (4, 6)] == [([], []), ([], [])]


async def test_one_family_alone_and_what_is_missing_comes_back() -> None:
    def put(route: IPRoute) -> None:
        route.link("set", index=1, state="up")
        redirects.sync(route, (AF_INET,))
        route.rule("del", priority=redirects.PRIORITY, family=AF_INET, table=redirects.TABLE)
        redirects.sync(route, (AF_INET,))

    await on_node("put", put)
    assert len(ours(4)[0]) == 1
    assert ours(6) == ([], [])


async def test_the_port_range_is_widened_once_and_never_narrowed() -> None:
    key = Path("/proc/sys/net/ipv4/ip_local_port_range")

    def widen(_route: IPRoute) -> list[list[str]]:
        seen = []
        for held in ("32768 60999", "1024 65535"):
            key.write_text(held)
            sysctl.write_all(redirects.settings(ipv4=False))
            seen.append(key.read_text().split())
        return seen

    assert await on_node("widen", widen) == [["32768", "65535"], ["1024", "65535"]]


async def test_ports_of_closed_connections_may_be_used_again() -> None:
    def put(_route: IPRoute) -> str:
        sysctl.write_all(redirects.settings(ipv4=False))
        return Path("/proc/sys/net/ipv4/tcp_tw_reuse").read_text().strip()

    assert await on_node("put", put) == "1"
