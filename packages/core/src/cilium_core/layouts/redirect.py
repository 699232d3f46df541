# SPDX-License-Identifier: Apache-2.0
"""Keys and values of the maps that lead connections to proxies. Version 1.

A rule set is a port, on which a proxy applies it. A row of which the verdict is L7 finds the port
by the row's own prefix and the peer's identity; without one the connection is dropped.
"""

from __future__ import annotations

from typing import Any

from cilium_core.layouts.policy import NumberInfo, NumberKey
from cilium_core.layouts.record import U8, U32, U64, Be16, Record, record
from cilium_core.layouts.spec import MapKind, MapSpec

PORTS = range(10_000, 20_001)  # of rule sets, as upstream's
# Two proxies may serve one node's rule sets, each on its own block: a rule set has the same place
# in both. A connection whose port changes its block only goes on where it is.
BLOCK = 5_000
# Sources of the proxies' own connections; pods' and other programs' sockets stay below.
LEG_PORTS = range(61_000, 65_536)


@record("redirect_key")
class RedirectKey(Record):
    """A row, as its prefix (`prefixlen` counts as in a row's key), and a peer (0: anybody)."""

    policy: U32
    identity: U32
    direction: U8
    protocol: U8
    row_port: Be16
    prefixlen: U8
    pad: U8 = 0
    pad2: Be16 = 0


@record("redirect_info")
class RedirectInfo(Record):
    """The port of the rule set; the key repeated, since values recycle (and read last)."""

    policy: U32
    identity: U32
    direction: U8
    protocol: U8
    row_port: Be16
    prefixlen: U8
    pad: U8
    port: Be16


@record("listener_key")
class ListenerKey(Record):
    """A rule set's port, and which of its sockets: protocol and family (4 or 6)."""

    port: Be16
    protocol: U8
    family: U8


@record("listener_info")
class ListenerInfo(Record):
    """The socket, which Python sees as its cookie."""

    cookie: U64


REDIRECTS = MapSpec("cilium_redirects_v1", MapKind.HASH, RedirectKey, RedirectInfo, 262_144)
LISTENERS = MapSpec(
    "cilium_proxy_listeners_v1", MapKind.SOCKHASH, ListenerKey, ListenerInfo, 32_768
)
REDIRECT_MAPS: tuple[MapSpec[Any, Any], ...] = (REDIRECTS, LISTENERS)

# Python's memory of which rule set a port stands for; the programs never look at it.
RULE_SET_PORTS = MapSpec("cilium_proxy_ports_v1", MapKind.HASH, NumberKey, NumberInfo, 16_384)
