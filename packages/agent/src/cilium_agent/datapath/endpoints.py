# SPDX-License-Identifier: Apache-2.0
"""Endpoints as the kernel sees them: implements `ports.EndpointDatapath` over maps and links.

Runs on the event loop's thread, which owns the tables; only the purge, which walks a map that may
be large, goes to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from cilium_agent.datapath import conntrack
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


class Enforcement(NamedTuple):
    """Which resolved policy an endpoint enforces (0: none, all is allowed) and its revision."""

    policy: int = 0
    revision: int = 0


NOTHING_ENFORCED = Enforcement()
UNKNOWN_POLICY = (1 << 32) - 1  # never given out: without rows, so everything is a drop
CUT_OFF = Enforcement(UNKNOWN_POLICY)


class KernelEndpoints:
    """Writes endpoints and the node's own addresses into the endpoint map and the ipcache."""

    def __init__(
        self,
        store: MapStore,
        attachments: Attachments,
        assigned: Callable[[int], tuple[int, int] | None] = lambda _endpoint_id: None,
    ) -> None:
        """Use the store's tables; `attachments` carries the generation in force.

        `assigned` says which policy number and revision an endpoint has, None for not known.
        """
        self._store = store
        self._assigned = assigned
        self.attachments = attachments  # replaced by the owner when a new generation is loaded

    async def attach(self, endpoint: Endpoint) -> None:
        """Put `from_container` on the endpoint's host-side device (again is harmless)."""
        self.attachments.attach_container(endpoint.host_ifindex)

    async def upsert(self, endpoint: Endpoint) -> None:
        """Write ipcache first, so that no packet of the endpoint meets an unknown identity.

        An endpoint without an assigned policy goes on with the one that it has.
        """
        assigned = self._assigned(endpoint.endpoint_id)
        enforcement = Enforcement(*assigned) if assigned else self._enforcement_of(endpoint)
        self._store.ipcache.upsert(ipcache_rows(endpoint))
        self._store.endpoints.upsert(endpoint_rows(endpoint, enforcement))

    def point(self) -> list[int]:
        """Have every endpoint in the kernel enforce what it is assigned; return their ids.

        One that nobody knows the policy of is cut off: its number has no rows.
        """
        wanted = {}
        for endpoint_id, present in self.enforced().items():
            assigned = self._assigned(endpoint_id) or (UNKNOWN_POLICY, present.revision + 1)
            wanted[endpoint_id] = Enforcement(*assigned)
        self.enforce(wanted)
        return list(wanted)

    def enforce(self, wanted: Mapping[int, Enforcement]) -> None:
        """Put policies in force, by endpoint id, in one batch; ids that are gone are ignored.

        The tables must hold a policy's rows before. Connections judged under another revision
        are judged again with their next packet.
        """
        rows = {}
        for key, row in self._store.endpoints.current.items():
            if row.endpoint_id in wanted and not row.flags & EndpointFlag.HOST:
                policy, revision = wanted[row.endpoint_id]
                rows[key] = replace(row, policy=policy, revision=revision)
        self._store.endpoints.upsert(rows)

    def enforced(self) -> Mapping[int, Enforcement]:
        """Return what each endpoint in the kernel enforces, by endpoint id."""
        return enforced_by(self._store)

    async def delete(self, endpoint: Endpoint) -> None:
        """Remove the rows that are still this endpoint's, and its connections.

        An address that another endpoint took over meanwhile stays the other's. The program stays
        on the device, where it now drops everything.
        """
        rows = self._store.endpoints.current
        mine = [  # one without a row counts: an upsert that was cut short wrote the ipcache only
            key
            for key in endpoint_rows(endpoint)
            if key not in rows or rows[key].endpoint_id == endpoint.endpoint_id
        ]
        self._store.endpoints.delete(mine)
        self._store.ipcache.delete(IpcacheKey(128, key.addr) for key in mine)
        await asyncio.to_thread(self._purge, {key.addr for key in mine})

    async def detach(self, endpoint: Endpoint) -> None:
        """Take the program off the endpoint's device, unless that is a successor's now."""
        left = self._store.endpoints.current.values()
        if all(row.ifindex != endpoint.host_ifindex for row in left):
            self.attachments.detach_container(endpoint.host_ifindex)

    async def adopt(self, endpoints: Iterable[Endpoint]) -> None:
        """Make the endpoint map hold these endpoints and the node's own addresses only.

        One without a row is cut off until `point`: what it may is not known yet.
        """
        known = list(endpoints)
        desired = {
            key: row
            for key, row in self._store.endpoints.current.items()
            if row.flags & EndpointFlag.HOST
        }
        for endpoint in known:
            self._store.ipcache.upsert(ipcache_rows(endpoint))
            desired.update(endpoint_rows(endpoint, self._enforcement_of(endpoint, CUT_OFF)))
        self._store.endpoints.replace(desired)

    def replace_host_addresses(self, addresses: Iterable[Address]) -> None:
        """Say which addresses are the node's own: packets to them go to its stack."""
        desired = {
            EndpointKey(packed): EndpointInfo(
                packed, 0, int(Reserved.HOST), 0, int(EndpointFlag.HOST), _NO_MAC, _NO_MAC
            )
            for packed in map(pack_address, addresses)
        }
        table = self._store.endpoints
        table.upsert(desired)
        table.delete(
            [
                key
                for key, old in table.current.items()
                if old.flags & EndpointFlag.HOST and key not in desired
            ]
        )

    def _enforcement_of(
        self, endpoint: Endpoint, absent: Enforcement = NOTHING_ENFORCED
    ) -> Enforcement:
        """What the kernel holds for this endpoint; another's address lends it nothing."""
        rows = self._store.endpoints.current
        for address in _addresses(endpoint):
            row = rows.get(EndpointKey(pack_address(address)))
            if row is not None and row.endpoint_id == endpoint.endpoint_id:
                return Enforcement(row.policy, row.revision)
        return absent

    def _purge(self, addresses: set[bytes]) -> None:
        conntrack.purge(self._store.translations, addresses)
        conntrack.purge(self._store.connections, addresses)


def enforced_by(store: MapStore) -> Mapping[int, Enforcement]:
    """Return what each endpoint in the kernel enforces, by endpoint id."""
    return {
        row.endpoint_id: Enforcement(row.policy, row.revision)
        for row in store.endpoints.current.values()
        if not row.flags & EndpointFlag.HOST
    }


def endpoint_rows(
    endpoint: Endpoint, enforcement: Enforcement = NOTHING_ENFORCED
) -> dict[EndpointKey, EndpointInfo]:
    """Return the endpoint map's rows, one for each address that the endpoint has."""
    return {
        EndpointKey(packed): EndpointInfo(
            addr=packed,
            ifindex=endpoint.host_ifindex,
            identity=endpoint.identity,
            endpoint_id=endpoint.endpoint_id,
            flags=0,
            mac=endpoint.mac,
            node_mac=endpoint.node_mac,
            policy=enforcement.policy,
            revision=enforcement.revision,
        )
        for packed in map(pack_address, _addresses(endpoint))
    }


def ipcache_rows(endpoint: Endpoint) -> dict[IpcacheKey, IpcacheInfo]:
    """Return the ipcache's rows of a local endpoint: its identity, no tunnel."""
    info = IpcacheInfo(endpoint.identity)
    return {IpcacheKey(*pack_network(str(address))): info for address in _addresses(endpoint)}


def _addresses(endpoint: Endpoint) -> list[Address]:
    return [address for address in (endpoint.ipv4, endpoint.ipv6) if address is not None]
