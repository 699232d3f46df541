# SPDX-License-Identifier: Apache-2.0
"""Endpoints as the kernel sees them: implements `ports.EndpointDatapath` over maps and links.

Runs on the event loop's thread, which owns the tables; only the purge, which walks a map that may
be large, goes to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.store import MapStore
from cilium_agent.model import Endpoint
from cilium_core.addresses import Address, pack_address, pack_network
from cilium_core.identity import Reserved
from cilium_core.layouts.datapath import (
    EndpointFlag,
    EndpointInfo,
    EndpointKey,
    IpcacheInfo,
    IpcacheKey,
)

_NO_MAC = bytes(6)


class KernelEndpoints:
    """Writes endpoints and the node's own addresses into the endpoint map and the ipcache."""

    def __init__(self, store: MapStore, attachments: Attachments) -> None:
        """Use the store's tables; `attachments` carries the generation in force."""
        self._store = store
        self.attachments = attachments  # replaced by the owner when a new generation is loaded

    async def attach(self, endpoint: Endpoint) -> None:
        """Put `from_container` on the endpoint's host-side device (again is harmless)."""
        self.attachments.attach_container(endpoint.host_ifindex)

    async def upsert(self, endpoint: Endpoint) -> None:
        """Write ipcache first, so that no packet of the endpoint meets an unknown identity."""
        self._store.ipcache.upsert(ipcache_rows(endpoint))
        self._store.endpoints.upsert(endpoint_rows(endpoint))

    async def delete(self, endpoint: Endpoint) -> None:
        """Remove the rows that are still this endpoint's, its link, and its translations.

        An address that another endpoint took over meanwhile stays the other's.
        """
        rows = self._store.endpoints.current
        mine = [  # one without a row counts: an upsert that was cut short wrote the ipcache only
            key
            for key in endpoint_rows(endpoint)
            if key not in rows or rows[key].endpoint_id == endpoint.endpoint_id
        ]
        self._store.endpoints.delete(mine)
        self._store.ipcache.delete(IpcacheKey(128, key.addr) for key in mine)
        left = self._store.endpoints.current.values()
        if all(row.ifindex != endpoint.host_ifindex for row in left):  # not a successor's device
            self.attachments.detach_container(endpoint.host_ifindex)
        await asyncio.to_thread(self._purge, {key.addr for key in mine})

    async def adopt(self, endpoints: Iterable[Endpoint]) -> None:
        """Make the endpoint map hold these endpoints and the node's own addresses only."""
        known = list(endpoints)
        desired = {
            key: row
            for key, row in self._store.endpoints.current.items()
            if row.flags & EndpointFlag.HOST
        }
        for endpoint in known:
            self._store.ipcache.upsert(ipcache_rows(endpoint))
            desired.update(endpoint_rows(endpoint))
        self._store.endpoints.replace(desired)

    def replace_host_addresses(self, addresses: Iterable[Address]) -> None:
        """Say which addresses are the node's own: packets to them go to its stack."""
        row = EndpointInfo(0, int(Reserved.HOST), 0, int(EndpointFlag.HOST), _NO_MAC, _NO_MAC)
        desired = {EndpointKey(pack_address(address)): row for address in addresses}
        table = self._store.endpoints
        table.upsert(desired)
        table.delete(
            [
                key
                for key, old in table.current.items()
                if old.flags & EndpointFlag.HOST and key not in desired
            ]
        )

    def _purge(self, addresses: set[bytes]) -> None:
        translations = self._store.translations
        translations.delete_many(
            key
            for key, _ in list(translations.items())
            if key.saddr in addresses or key.daddr in addresses
        )


def endpoint_rows(endpoint: Endpoint) -> dict[EndpointKey, EndpointInfo]:
    """Return the endpoint map's rows, one for each address that the endpoint has."""
    info = EndpointInfo(
        ifindex=endpoint.host_ifindex,
        identity=endpoint.identity,
        endpoint_id=endpoint.endpoint_id,
        flags=0,
        mac=endpoint.mac,
        node_mac=endpoint.node_mac,
    )
    return {EndpointKey(pack_address(address)): info for address in _addresses(endpoint)}


def ipcache_rows(endpoint: Endpoint) -> dict[IpcacheKey, IpcacheInfo]:
    """Return the ipcache's rows of a local endpoint: its identity, no tunnel."""
    info = IpcacheInfo(endpoint.identity)
    return {IpcacheKey(*pack_network(str(address))): info for address in _addresses(endpoint)}


def _addresses(endpoint: Endpoint) -> list[Address]:
    return [address for address in (endpoint.ipv4, endpoint.ipv6) if address is not None]
