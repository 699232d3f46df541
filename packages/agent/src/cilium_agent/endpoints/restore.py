# SPDX-License-Identifier: Apache-2.0
"""Brings endpoints back at start: rows, links, namespaces and the pinned map made to agree.

Runs once, before the CNI socket answers. What runs is adopted as it is, without touching its
traffic: by its row, or, whatever became of the row, by what the kernel holds (`recovery`). Every
start looks at every link, so a rebuild that was cut short needs no mark to be gone on with. A row
that was never finished and a pod that went are removed. Of the links without a row only those are
removed that are ours and lead to a pod's end that was never configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

import structlog

from cilium_agent.endpoints import recovery
from cilium_agent.endpoints.links import HostLink
from cilium_agent.endpoints.manager import EndpointManager
from cilium_agent.errors import AddressTaken
from cilium_agent.host.errors import LinkError, NetnsError
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.addresses import pack_address
from cilium_core.layouts.datapath import EndpointInfo, EndpointKey

log = structlog.get_logger(__name__)
FINISHED = {EndpointState.READY, EndpointState.REGENERATING, EndpointState.RESTORING}
Pinned = Mapping[EndpointKey, EndpointInfo]


@dataclass
class RestoreReport:
    """What restore did: numbers of endpoints and names of links."""

    adopted: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)  # adopted without a row
    orphan_links: list[str] = field(default_factory=list)  # removed
    kept_links: list[str] = field(default_factory=list)  # of nobody that is known


async def restore(manager: EndpointManager, pinned: Pinned) -> RestoreReport:
    """Restore this node's endpoints. `pinned` is the endpoint map as the kernel holds it."""
    report = RestoreReport()
    rows = await manager.store.load()
    links = await manager.links.present()
    index_of = {link.name: link.ifindex for link in links}
    row_of = {row.host_interface: row for row in rows}
    without_row = [link for link in links if not _tells_of(row_of.get(link.name), link)]
    rebuilt, unknown = await _rebuild(manager, without_row, pinned)
    candidates = [_located(row, index_of) for row in rows]
    candidates += recovery.numbered(rebuilt, (row.endpoint_id for row in rows))
    # The dead go first, so that a live one finds its address and its number free.
    live = []
    for endpoint in candidates:
        if endpoint.state in FINISHED and await manager.links.alive(endpoint):
            live.append(endpoint)
        else:
            await _discard(manager, endpoint, report)
    for endpoint in _by_precedence(live, pinned):
        if _claim(manager, endpoint):
            await _adopt(manager, endpoint)
            report.adopted.append(endpoint.endpoint_id)
        else:
            await _discard(manager, endpoint, report)
    adopted = {endpoint.host_interface for endpoint in manager.all()}
    report.rebuilt = [e.host_interface for e in rebuilt if e.host_interface in adopted]
    await _remove_orphans(manager, unknown, report)
    await _finish(manager)
    log.info(
        "endpoints restored",
        adopted=len(report.adopted),
        rebuilt=report.rebuilt,
        removed=len(report.removed),
        orphan_links=report.orphan_links,
        kept_links=report.kept_links,
    )
    return report


async def _rebuild(
    manager: EndpointManager, links: list[HostLink], pinned: Pinned
) -> tuple[list[Endpoint], list[tuple[HostLink, bool]]]:
    """Return the endpoints of links without a row, and the other links: (link, is an orphan)."""
    rebuilt = recovery.from_map(links, pinned)
    done = {endpoint.host_interface for endpoint in rebuilt}
    unknown = []
    for link in links:
        if link.name in done:
            continue
        said = recovery.described(link)
        end = None
        if link.ours:
            try:
                end = await manager.links.pod_end(said.netns, said.interface, link.ifindex)
            except (NetnsError, LinkError) as error:
                log.warning("a pod's end was not seen", link=link.name, error=str(error))
        if end is not None and end.addresses:
            rebuilt.append(recovery.from_pod(link, end))
        else:
            unknown.append((link, end is not None))
    return rebuilt, unknown


def _tells_of(row: Endpoint | None, link: HostLink) -> bool:
    """Tell whether the row is of this very link, not of an earlier one by the same name."""
    if row is None:
        return False
    # Until it is finished a row holds no index and no MAC.
    return row.state not in FINISHED or (row.host_ifindex, row.node_mac) == (link.ifindex, link.mac)


def _located(row: Endpoint, index_of: Mapping[str, int]) -> Endpoint:
    """Fill in the index of a link that was made after its row was last written."""
    if row.host_ifindex:
        return row
    return replace(row, host_ifindex=index_of.get(row.host_interface, 0))


def _by_precedence(live: Iterable[Endpoint], pinned: Pinned) -> list[Endpoint]:
    """Order endpoints so that of two with one address the first is the one to keep.

    That is the one whom the map gives the address, since it is reachable now and the other is not;
    when the map tells nothing, the newer link: its pod is the one that the cluster knows by the
    address, the older one's was given away.
    """

    def rank(endpoint: Endpoint) -> tuple[int, int]:
        rows = [pinned.get(EndpointKey(pack_address(a))) for a in _addresses(endpoint)]
        in_force = sum(row is not None and row.ifindex == endpoint.host_ifindex for row in rows)
        return in_force, endpoint.host_ifindex

    return sorted(live, key=rank, reverse=True)


def _claim(manager: EndpointManager, endpoint: Endpoint) -> bool:
    try:
        for address in _addresses(endpoint):
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


async def _discard(manager: EndpointManager, endpoint: Endpoint, report: RestoreReport) -> None:
    await manager.discard(endpoint)
    report.removed.append(endpoint.endpoint_id)


async def _remove_orphans(
    manager: EndpointManager, unknown: Iterable[tuple[HostLink, bool]], report: RestoreReport
) -> None:
    for link, orphan in unknown:
        if orphan:
            number = manager.table.new_id()
            await manager.discard(replace(recovery.described(link), endpoint_id=number))
            report.orphan_links.append(link.name)
        else:  # another CNI's, or nobody can tell; the kernel removes it with its namespace
            report.kept_links.append(link.name)


async def _finish(manager: EndpointManager) -> None:
    given = await manager.store.last_given()
    manager.pool.resume(given.ipv4, given.ipv6)
    manager.table.resume(given.endpoint_id)
    await manager.datapath.adopt(manager.all())
    for endpoint in manager.all():
        if endpoint.labels:  # else it was rebuilt: its pod's labels are looked up, then it is told
            manager.objects.publish(endpoint)


def _addresses(endpoint: Endpoint) -> list[IPv4Address | IPv6Address]:
    return [a for a in (endpoint.ipv4, endpoint.ipv6) if a is not None]
