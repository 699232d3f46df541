# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' state to the node's tables: ipcache, services, tunnels, routes.

Handlers note changes at once; `run` carries them out in one task, many changes in one go. Until
`allow_deletions` (every list in, endpoints restored) rows are only written, never removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import structlog

from cilium_agent.errors import AgentError
from cilium_agent.ipcache import sources
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.k8s.objects import SliceObject
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import NodeAddressing, RemoteNode
from cilium_agent.nodes.remote import remote_nodes, tunnel_rows
from cilium_agent.services import desired
from cilium_agent.services.balancer import Balancer
from cilium_core.addresses import Address
from cilium_core.crds.models import CiliumEndpoint, CiliumNode
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo

log = structlog.get_logger(__name__)

API_SERVICE = ("default", "kubernetes")
SyncRoutes = Callable[[Mapping[str, RemoteNode]], Awaitable[None]]


class TunnelTable(Protocol):
    """The part of the tunnel table that is used."""

    @property
    def current(self) -> Mapping[IpcacheKey, TunnelInfo]: ...

    def upsert(self, rows: Mapping[IpcacheKey, TunnelInfo]) -> object: ...

    def delete(self, keys: Iterable[IpcacheKey]) -> object: ...


class Reconciler:
    """Keeps the tables in step with the informers."""

    def __init__(
        self,
        watches: Watches,
        ipcache: IpcacheWriter,
        balancer: Balancer,
        tunnels: TunnelTable,
        node_name: str,
    ) -> None:
        """Call `attach` once this node's addressing is known."""
        self._watches = watches
        self._ipcache = ipcache
        self._balancer = balancer
        self._tunnels = tunnels
        self._name = node_name
        self._own: frozenset[str] = frozenset()
        self._addressing: NodeAddressing | None = None
        self._sync_routes: SyncRoutes | None = None
        self._nodes_changed = True
        self._may_delete = False
        self._more = asyncio.Event()
        self.remote: dict[str, RemoteNode] = {}

    def attach(self, addressing: NodeAddressing, sync_routes: SyncRoutes) -> None:
        """Follow the informers; `sync_routes` makes the node's routes lead to remote nodes."""
        self._addressing = addressing
        self._own = frozenset(str(a) for a in (addressing.node_v4, addressing.node_v6) if a)
        self._sync_routes = sync_routes
        world = sources.of_world(
            ipv4=addressing.pod_v4 is not None, ipv6=addressing.pod_v6 is not None
        )
        self._ipcache.fold.put("world", world)
        self._watches.ciliumendpoints.on_change(self._endpoint)
        self._watches.ciliumnodes.on_change(self._node)
        self._watches.slices.on_change(self._slice)
        self._balancer.attach(self._watches.services, self._watches.slices)
        self._watches.services.on_change(lambda _old, _new: self._more.set())

    def set_host_addresses(self, addresses: Iterable[Address]) -> None:
        """Say which addresses are this node's own."""
        self._ipcache.fold.put("host", sources.of_host(addresses))
        self._more.set()

    async def flush(self) -> None:
        """Carry out all that is noted."""
        self._ipcache.flush()
        # A service whose slices are not listed yet would look empty and lose its live rows.
        listed = self._watches.services.synced.is_set() and self._watches.slices.synced.is_set()
        if self._balancer.dirty and listed:
            self._balancer.flush()
        if self._nodes_changed:
            self._nodes_changed = False
            await self._write_nodes()

    async def allow_deletions(self) -> None:
        """Remove what nothing stands for, now and from now on."""
        self._may_delete = True
        stale = self._ipcache.prune()
        self._balancer.prune()
        await self._write_nodes()
        log.info("tables agree with the cluster", stale_ipcache_rows=stale)

    async def run(self) -> None:
        """Carry changes out as they come, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.flush()

    def _endpoint(self, old: CiliumEndpoint | None, new: CiliumEndpoint | None) -> None:
        item = new or old
        if item is not None:
            statements = sources.of_endpoint(new, self._own) if new is not None else {}
            name = f"{item.metadata.namespace}/{item.metadata.name}"
            self._ipcache.fold.put(f"cep/{name}", statements)
            self._more.set()

    def _node(self, old: CiliumNode | None, new: CiliumNode | None) -> None:
        item = new or old
        if item is None:
            return
        if item.metadata.name == self._name:
            self._check_own(new)
            return
        statements = sources.of_node(new) if new is not None else {}
        self._ipcache.fold.put(f"node/{item.metadata.name}", statements)
        self._nodes_changed = True
        self._more.set()

    def _slice(self, old: SliceObject | None, new: SliceObject | None) -> None:
        item = new or old
        if item is None:
            return
        if desired.service_key(item) == API_SERVICE:
            statements = sources.of_apiserver(new) if new is not None else {}
            self._ipcache.fold.put(f"apiserver/{item.metadata.name}", statements)
        self._more.set()

    def _check_own(self, node: CiliumNode | None) -> None:
        known = self._addressing
        if node is None or known is None or not node.spec.ipam.pod_cidrs:
            return
        held = {str(cidr) for cidr in (known.pod_v4, known.pod_v6) if cidr is not None}
        if not held <= set(node.spec.ipam.pod_cidrs):
            raise AgentError(
                f"pod CIDRs of this node changed from {sorted(held)} to "
                f"{node.spec.ipam.pod_cidrs}: starting over with the new ones"
            )

    async def _write_nodes(self) -> None:
        listed = remote_nodes(self._watches.ciliumnodes.items.values(), self._name)
        self.remote.clear()
        self.remote.update({node.name: node for node in listed})
        rows = tunnel_rows(listed, self._tunnels.current)
        self._tunnels.upsert(rows)
        if self._sync_routes is not None:
            await self._sync_routes(self.remote)
        if self._may_delete:
            self._tunnels.delete([key for key in self._tunnels.current if key not in rows])
