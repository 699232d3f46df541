# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' state to the node's tables: ipcache, services, tunnels, routes.

Handlers note changes at once; `run` carries them out in one task, many changes in one go. Each
table is a step that fails alone: the others are written, and what failed is tried again. Until
`allow_deletions` (every list in, endpoints restored) rows are only written, never removed.

When this node itself is not what the agent started with any more (other pod CIDRs, another
address), `run` ends by StartOver: the process begins anew, and the kernel goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import structlog

from cilium_agent.errors import StartOver
from cilium_agent.ipcache import sources
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.k8s.informer import HasMeta, key_of
from cilium_agent.k8s.objects import NodeObject, SliceObject
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import NodeAddressing, RemoteNode
from cilium_agent.nodes.fields import INTERNAL_IP, announced, pod_cidrs
from cilium_agent.nodes.remote import remote_node, tunnel_rows
from cilium_agent.services import desired
from cilium_agent.services.balancer import Balancer
from cilium_agent.steps import Controller, Step
from cilium_core.addresses import Address, Network
from cilium_core.crds.models import CiliumEndpoint, CiliumNode
from cilium_core.errors import FieldError
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


class _Unheard:
    """A controller that nobody looks at."""

    def succeeded(self) -> None:
        return None

    def failed(self, error: BaseException) -> None:
        return None


class Reconciler:
    """Keeps the tables in step with the informers."""

    def __init__(
        self,
        watches: Watches,
        ipcache: IpcacheWriter,
        balancer: Balancer,
        tunnels: TunnelTable,
        node_name: str,
        controller: Callable[[str], Controller] = lambda _name: _Unheard(),
    ) -> None:
        """Call `attach` once this node's addressing is known.

        `controller` returns who is told how the table of that name fares.
        """
        self._watches = watches
        self._ipcache = ipcache
        self._balancer = balancer
        self._tunnels = tunnels
        self._name = node_name
        self._addressing: NodeAddressing | None = None
        self._own: frozenset[Address] = frozenset()
        self._sync_routes: SyncRoutes | None = None
        self._nodes: dict[str, RemoteNode] = {}
        self._told: dict[str, frozenset[Network]] = {}  # addresses, by node
        self._apiservers: dict[str, sources.Statements] = {}  # by slice
        self._over: StartOver | None = None
        self._may_delete = False
        self._unpruned: set[str] = set()
        self._more = asyncio.Event()
        self.remote: dict[str, RemoteNode] = {}
        works = {
            "ipcache": self._write_ipcache,
            "services": self._write_services,
            "tunnels": self._write_tunnels,
            "node-routes": self._write_routes,
        }
        self._steps = {name: Step(name, work, controller(name)) for name, work in works.items()}

    def attach(self, addressing: NodeAddressing, sync_routes: SyncRoutes) -> None:
        """Follow the informers; `sync_routes` makes the node's routes lead to remote nodes."""
        self._addressing = addressing
        self._own = frozenset(a for a in (addressing.node_v4, addressing.node_v6) if a)
        self._sync_routes = sync_routes
        world = sources.of_world(
            ipv4=addressing.pod_v4 is not None, ipv6=addressing.pod_v6 is not None
        )
        self._ipcache.fold.put("world", world)
        self._watches.ciliumendpoints.on_change(self._endpoint)
        self._watches.ciliumnodes.on_change(self._node)
        self._watches.node.on_change(self._own_node)
        self._watches.slices.on_change(self._slice)
        self._balancer.attach(self._watches.services, self._watches.slices)
        self._watches.services.on_change(lambda _old, _new: self._want("services"))

    def set_host_addresses(self, addresses: Iterable[Address]) -> None:
        """Say which addresses are this node's own."""
        self._ipcache.fold.put("host", sources.of_host(addresses))
        self._want("ipcache")

    async def flush(self) -> None:
        """Carry out all that is noted; a table that fails is told to its controller.

        StartOver when this node is another than at the start.
        """
        if self._over is not None:
            raise self._over
        if self._balancer.dirty and self._services_listed():
            self._steps["services"].want()
        for step in self._steps.values():
            await step.run()

    async def allow_deletions(self) -> None:
        """Remove what nothing stands for, now and from now on."""
        self._may_delete = True
        self._unpruned = {"ipcache", "services"}
        self._want(*self._steps)
        await self.flush()

    async def run(self) -> None:
        """Carry changes out as they come, until cancelled. StartOver as `flush`."""
        while True:
            waits = [due for step in self._steps.values() if (due := step.due()) is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._more.wait()
            self._more.clear()
            await self.flush()

    def _want(self, *steps: str) -> None:
        for name in steps:
            self._steps[name].want()
        self._more.set()

    def _endpoint(self, old: CiliumEndpoint | None, new: CiliumEndpoint | None) -> None:
        item = new or old
        if item is None:
            return
        problems: list[FieldError] = []
        statements = sources.of_endpoint(new, self._own, problems) if new is not None else {}
        _complain("CiliumEndpoint", item, problems)
        name = f"{item.metadata.namespace}/{item.metadata.name}"
        self._ipcache.fold.put(f"cep/{name}", statements)
        self._want("ipcache")

    def _node(self, old: CiliumNode | None, new: CiliumNode | None) -> None:
        item = new or old
        if item is None:
            return
        name = item.metadata.name
        self._tell_addresses(name, sources.told_by(new) if new is not None else frozenset())
        if name == self._name:
            if new is not None:
                self._check_cidrs(new)
            return
        problems: list[FieldError] = []
        view = remote_node(new, problems) if new is not None else None
        _complain("CiliumNode", item, problems)
        if view is not None:
            self._nodes[name] = view
        else:
            self._nodes.pop(name, None)
        self._ipcache.fold.put(f"node/{name}", sources.of_node(new) if new is not None else {})
        self._want("ipcache", "tunnels", "node-routes")

    def _slice(self, old: SliceObject | None, new: SliceObject | None) -> None:
        item = new or old
        if item is None:
            return
        if desired.service_key(item) == API_SERVICE:
            problems: list[FieldError] = []
            statements = sources.of_apiserver(new, problems) if new is not None else {}
            _complain("EndpointSlice", item, problems)
            self._apiservers[item.metadata.name] = statements
            self._tell_apiservers()
        self._want("ipcache", "services")

    def _tell_addresses(self, name: str, told: frozenset[Network]) -> None:
        changed = told ^ self._told.get(name, frozenset())
        self._told[name] = told
        if any(not changed.isdisjoint(said) for said in self._apiservers.values()):
            self._tell_apiservers()
            self._want("ipcache")

    def _tell_apiservers(self) -> None:
        on_nodes = set().union(*self._told.values())
        for name, statements in self._apiservers.items():
            said = {prefix: row for prefix, row in statements.items() if prefix in on_nodes}
            self._ipcache.fold.put(f"apiserver/{name}", said)

    def _check_cidrs(self, node: CiliumNode) -> None:
        """Start over when the operator gave this node others; one that is missing it gives back."""
        known = self._addressing
        listed = pod_cidrs(node.spec.ipam.pod_cidrs)
        for held in (known.pod_v4, known.pod_v6) if known is not None else ():
            others = [cidr for cidr in listed if held and cidr.version == held.version]
            if others and held not in others:
                self._start_over(
                    f"pod CIDR of this node changed from {held} to "
                    f"{', '.join(str(cidr) for cidr in others)}"
                )

    def _own_node(self, _old: NodeObject | None, new: NodeObject | None) -> None:
        """Start over when this node is reached by another address now."""
        known = self._addressing
        if new is None or known is None:
            return
        listed = [address for kind, address in announced(new) if kind == INTERNAL_IP]
        for held in (known.node_v4, known.node_v6):
            others = [address for address in listed if held and address.version == held.version]
            if others and held not in others:
                self._start_over(f"address of this node changed from {held} to {others[0]}")

    def _start_over(self, reason: str) -> None:
        self._over = StartOver(f"{reason}: starting over with the new one")
        self._more.set()

    def _services_listed(self) -> bool:
        # A service whose slices are not listed yet would look empty and lose its live rows.
        return self._watches.services.synced.is_set() and self._watches.slices.synced.is_set()

    async def _write_ipcache(self) -> None:
        if "ipcache" not in self._unpruned:
            self._ipcache.flush()
            return
        self._unpruned.discard("ipcache")
        log.info("ipcache agrees with the cluster", stale_rows=self._ipcache.prune())

    async def _write_services(self) -> None:
        if "services" in self._unpruned:
            self._unpruned.discard("services")
            self._balancer.prune()
        elif self._balancer.dirty and self._services_listed():
            self._balancer.flush()

    async def _write_tunnels(self) -> None:
        nodes = [self._nodes[name] for name in sorted(self._nodes)]
        self.remote.clear()
        self.remote.update({node.name: node for node in nodes})
        rows = tunnel_rows(nodes, self._tunnels.current)
        try:
            self._tunnels.upsert(rows)
        finally:
            if self._may_delete:
                self._tunnels.delete([key for key in self._tunnels.current if key not in rows])

    async def _write_routes(self) -> None:
        if self._sync_routes is not None:
            await self._sync_routes({name: self._nodes[name] for name in sorted(self._nodes)})


def _complain(kind: str, item: HasMeta, problems: Iterable[FieldError]) -> None:
    """Log what of an object is left out; handlers come here once for each version of it."""
    for problem in problems:
        log.warning(
            "field of an object left out",
            kind=kind,
            object="/".join(filter(None, key_of(item))),
            error=str(problem),
        )
