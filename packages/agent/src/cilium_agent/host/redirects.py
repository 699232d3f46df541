# SPDX-License-Identifier: Apache-2.0
"""Rules that hand what the programs have marked for a proxy to the node's own sockets.

Whoever's address a packet is for, a table of ours says that it is this node's; which socket takes
it is the stack's own look-up and `pick_listener`'s. Work for `netns.on_node`.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute

from cilium_agent.host import sysctl
from cilium_agent.host.devices import HOST
from cilium_agent.host.routes import PROTOCOL
from cilium_core.layouts.redirect import LEG_PORTS
from cilium_core.marks import MAGIC_MASK, Mark

TABLE = 2004  # as upstream's, and so is the priority: behind `local`, before all others
PRIORITY = 9
_LOCAL = 2  # RTN_LOCAL
_SCOPE_HOST = 254
_LOOPBACK = 1  # always, in every namespace
_ALL: dict[int, str] = {AF_INET: "0.0.0.0/0", AF_INET6: "::/0"}
_PORT_RANGE = "ipv4/ip_local_port_range"
_REUSE = "ipv4/tcp_tw_reuse"


def sync(route: IPRoute, families: Iterable[int]) -> None:
    """Have rule and table in these families (AF_INET, AF_INET6); what is there is not touched."""
    for family in families:
        if not _tables(route, family):
            route.route("replace", **_route(family))
        if not _rules(route, family):
            route.rule("add", **_rule(family))


def remove(route: IPRoute) -> None:
    """Take rules and tables away; absent is not an error."""
    for family in _ALL:
        for _ in _rules(route, family):
            route.rule("del", **_rule(family))
        if _tables(route, family):
            route.route("del", **_route(family))


def settings(ipv4: bool) -> dict[str, str]:
    """Return the kernel settings that redirected packets and the proxies' own sockets need.

    Answers of the node itself to a proxy come in again by cilium_host, from an address that is
    local. Proxies take their sources from above the default range, which must be inside. A proxy
    closes its connections itself and each waits for a minute: unless those ports may be used again
    (IPv6's as well), a pod gets as many connections a minute to a server as there are ports, 4 536.
    """
    shared = {_REUSE: "1", **_port_range()}
    return {f"ipv4/conf/{HOST}/accept_local": "1", **shared} if ipv4 else shared


def _port_range() -> dict[str, str]:
    held = (sysctl.read(_PORT_RANGE) or "").split()
    if len(held) != 2 or int(held[1]) >= LEG_PORTS[-1]:
        return {}
    return {_PORT_RANGE: f"{held[0]}\t{LEG_PORTS[-1]}"}


def _rule(family: int) -> dict[str, Any]:
    return {
        "family": family,
        "fwmark": int(Mark.TO_PROXY),
        "fwmask": MAGIC_MASK,
        "table": TABLE,
        "priority": PRIORITY,
        "protocol": PROTOCOL,
    }


def _route(family: int) -> dict[str, Any]:
    return {
        "family": family,
        "dst": _ALL[family],
        "type": _LOCAL,
        "scope": _SCOPE_HOST if family == AF_INET else 0,
        "oif": _LOOPBACK,
        "table": TABLE,
        "proto": PROTOCOL,
    }


def _rules(route: IPRoute, family: int) -> list[Any]:
    return [
        message
        for message in route.get_rules(family=family)
        if message.get_attr("FRA_TABLE") == TABLE
        and message.get_attr("FRA_FWMARK") == int(Mark.TO_PROXY)
    ]


def _tables(route: IPRoute, family: int) -> list[Any]:
    return [
        message
        for message in route.get_routes(family=family, table=TABLE)
        if message["proto"] == PROTOCOL
    ]
