# SPDX-License-Identifier: Apache-2.0
"""What a node's pinned maps hold, as the agent there reads them from the kernel. Blocking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple, Protocol

from cilium_core.addresses import Address, Network
from cilium_core.layouts.datapath import ENDPOINTS, IPCACHE
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Cell, Row, RowKey, Tables

SOCKET = "/var/run/cilium/cilium.sock"
PATHS = (f"map/{ENDPOINTS.name}", f"map/{IPCACHE.name}", "bpf/policy/tables")
HOST = "(localhost)"
Json = dict[str, Any]


class Nodes(Protocol):
    """The part of a cluster that this module needs."""

    def node_exec(self, node: str, argv: Sequence[str]) -> str:
        """Run a command on a node and return its output; an error raises."""


class LocalEndpoint(NamedTuple):
    """A row of the endpoint map."""

    number: int
    identity: int
    policy: int


class Place(NamedTuple):
    """A row of the ipcache: whose a prefix is, and the node to tunnel to (None: none)."""

    identity: int
    tunnel: Address | None = None


@dataclass(frozen=True)
class NodeMaps:
    """One node's maps. `hosts` are the rows of the node's own addresses."""

    endpoints: dict[Address, LocalEndpoint]
    hosts: frozenset[Address]
    ipcache: dict[Network, Place]
    tables: Tables


def read(cluster: Nodes, node: str) -> NodeMaps:
    """Read a node's maps. An error of the command when no agent answers there."""
    urls = [f"http://agent/v1/{path}" for path in PATHS]
    ask = ("curl", "-sS", "--fail", "--max-time", "10", "--unix-socket", SOCKET)
    # One document after the other on standard output.
    return parse(cluster.node_exec(node, [*ask, *urls]))


def parse(text: str) -> NodeMaps:
    """The maps of the answers to `PATHS`, one after another. Pure."""
    endpoints, ipcache, tables = _documents(text)
    rows = {ip_address(row["key"]): row["value"] for row in endpoints["cache"]}
    return NodeMaps(
        {key: _endpoint(value) for key, value in rows.items() if value != HOST},
        frozenset(key for key, value in rows.items() if value == HOST),
        {ip_network(row["key"]): _place(row["value"]) for row in ipcache["cache"]},
        _tables(tables),
    )


def _documents(text: str) -> list[Json]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found


def _words(value: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in value.split())


def _endpoint(value: str) -> LocalEndpoint:
    words = _words(value)
    return LocalEndpoint(int(words["id"]), int(words["sec_id"]), int(words["policy"]))


def _place(value: str) -> Place:
    words = _words(value)
    tunnel = ip_address(words["tunnelendpoint"])
    return Place(int(words["identity"]), None if tunnel.is_unspecified else tunnel)


def _tables(found: Json) -> Tables:
    rows = {}
    for row in found["rows"]:
        direction = Direction[row["direction"].upper()]
        key = RowKey(row["policy"], direction, row["protocol"], row["port"], row["port-bits"])
        flags = row["any"]
        cells = tuple(Cell(**cell) for cell in row["cells"])
        rows[key] = Row(flags["allow"], flags["deny"], flags["l7"], cells)
    return Tables(rows, {(b["identity"], b["word"]): b["bits"] for b in found["bits"]})
