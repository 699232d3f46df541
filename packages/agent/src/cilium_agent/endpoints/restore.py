# SPDX-License-Identifier: Apache-2.0
"""Brings endpoints back at start: rows, links, namespaces and the pinned map made to agree.

Runs once, before the CNI socket answers; a row that was never finished, a pod that went and a link
that nobody knows are removed, all else is adopted as it is, without touching its traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from cilium_agent.endpoints.manager import EndpointManager
from cilium_agent.endpoints.recovery import rebuild
from cilium_agent.errors import AddressTaken
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.layouts.datapath import EndpointInfo, EndpointKey

log = structlog.get_logger(__name__)
FINISHED = {EndpointState.READY, EndpointState.REGENERATING, EndpointState.RESTORING}


@dataclass
class RestoreReport:
    """What restore did; ids of endpoints and names of links."""

    adopted: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    orphan_links: list[str] = field(default_factory=list)
    rebuilt: bool = False


async def restore(
    manager: EndpointManager, pinned: Mapping[EndpointKey, EndpointInfo]
) -> RestoreReport:
    """Restore this node's endpoints. `pinned` is the endpoint map as the kernel holds it."""
    report = RestoreReport(rebuilt=manager.store.was_corrupt)
    links = await manager.links.present()
    rows = rebuild(links, pinned) if report.rebuilt else await manager.store.load()
    index_of = {link.name: link.ifindex for link in links}
    for row in rows:
        endpoint = _located(row, index_of)
        if await _adoptable(manager, endpoint):
            await _adopt(manager, endpoint)
            report.adopted.append(endpoint.endpoint_id)
        else:
            await manager.discard(endpoint)
            report.removed.append(endpoint.endpoint_id)
    known = {endpoint.host_interface for endpoint in manager.all()}
    for name in index_of:
        if name not in known and name not in {row.host_interface for row in rows}:
            await manager.links.remove(name)
            report.orphan_links.append(name)
    await manager.datapath.adopt(manager.all())
    for endpoint in manager.all():
        manager.objects.publish(endpoint)
    log.info(
        "endpoints restored",
        adopted=len(report.adopted),
        removed=len(report.removed),
        orphan_links=len(report.orphan_links),
        rebuilt=report.rebuilt,
    )
    return report


def _located(row: Endpoint, index_of: Mapping[str, int]) -> Endpoint:
    """Fill in the index of a link that was made after its row was last written."""
    if row.host_ifindex:
        return row
    return replace(row, host_ifindex=index_of.get(row.host_interface, 0))


async def _adoptable(manager: EndpointManager, endpoint: Endpoint) -> bool:
    if endpoint.state not in FINISHED or not await manager.links.alive(endpoint):
        return False
    try:
        for address in (endpoint.ipv4, endpoint.ipv6):
            if address is not None:
                manager.pool.claim(address, endpoint.host_interface)
    except AddressTaken as error:
        log.error("endpoint not adopted", endpoint=endpoint.endpoint_id, error=str(error))
        return False
    return True


async def _adopt(manager: EndpointManager, endpoint: Endpoint) -> None:
    endpoint = replace(endpoint, state=EndpointState.RESTORING)
    manager.table.put(endpoint)
    await manager.datapath.attach(endpoint)
    manager.policy.restore(endpoint.endpoint_id, endpoint.identity, endpoint.labels)
    endpoint = replace(endpoint, state=EndpointState.READY)
    await manager.store.put(endpoint)
    manager.table.put(endpoint)
