# SPDX-License-Identifier: Apache-2.0
"""Prefixes of policies beside the other rows of the ipcache."""

from __future__ import annotations

from ipaddress import ip_network

from cilium_agent.ipcache.fold import Metadata, Source
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.policy.prefixes import IpcachePrefixes
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey

FIRST = (1 << 24) + 1


class Table:
    """A map without limits."""

    def __init__(self) -> None:
        self.current: dict[IpcacheKey, IpcacheInfo] = {}

    def upsert(self, rows) -> None:
        self.current.update(rows)

    def delete(self, keys) -> None:
        for key in list(keys):
            self.current.pop(key, None)


def whose(prefixes: IpcachePrefixes, *names: str) -> list[int]:
    networks = [ip_network(name) for name in names]
    found = prefixes.identities(networks)
    return [found[network] for network in networks]


def test_addresses_are_whose_the_longest_row_around_them_says() -> None:
    writer = IpcacheWriter(Table(), lambda _: False)
    prefixes = IpcachePrefixes(writer)
    assert whose(prefixes, "10.0.0.0/8", "fd00::/8") == [2, 2]
    writer.fold.put("world", {ip_network("0.0.0.0/0"): Metadata(Source.WORLD, 9)})
    prefixes.show({ip_network("10.0.0.0/8"): FIRST, ip_network("10.1.0.0/16"): FIRST + 1})
    assert whose(prefixes, "10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/15", "11.0.0.0/8") == [
        FIRST + 1,
        FIRST + 1,
        FIRST,
        9,
    ]
    assert whose(prefixes, "fd00::/8", "10.1.2.3/32", "0.0.0.0/0") == [2, FIRST + 1, 9]
    assert prefixes.known() == {
        ip_network("10.0.0.0/8"): FIRST,
        ip_network("10.1.0.0/16"): FIRST + 1,
    }
