# SPDX-License-Identifier: Apache-2.0
"""Brings CiliumNode objects to their pod CIDRs: reads, asks the allocator, writes guarded.

All state is in the objects, so a crash between any two steps loses nothing: at start every
existing CIDR is adopted, oldest object first, before one is given out. One worker task calls
`sync` for one node at a time; nothing else touches the allocator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import structlog

from cilium_core.addresses import Network
from cilium_core.cidr import parse_network
from cilium_core.errors import FieldError
from cilium_operator.errors import ApiError, PoolExhausted
from cilium_operator.ipam.allocator import Allocator
from cilium_operator.views import CiliumNodeView

log = structlog.get_logger("cilium_operator.ipam")
MAX_CONFLICTS = 5


class NodeStore(Protocol):
    """CiliumNode objects. ApiError 409 when `version` is not the current one, 404 when gone."""

    async def read(self, name: str) -> CiliumNodeView | None: ...

    async def write_cidrs(self, name: str, version: str, cidrs: list[str]) -> CiliumNodeView: ...

    async def write_error(self, name: str, version: str, error: str) -> CiliumNodeView: ...


Warn = Callable[[CiliumNodeView, str, str], Awaitable[None]]


class IpamController:
    """Gives each CiliumNode a pod CIDR of every family."""

    def __init__(self, allocator: Allocator, store: NodeStore, warn: Warn) -> None:
        """`warn(node, reason, message)` makes a Kubernetes Event."""
        self._allocator = allocator
        self._store = store
        self._warn = warn
        self._latest: dict[str, CiliumNodeView] = {}
        self._unsure: set[str] = set()
        self._outside: set[tuple[str, Network]] = set()
        self.failing: dict[str, str] = {}

    def start(self, nodes: Iterable[CiliumNodeView]) -> None:
        """Adopt every existing CIDR, the oldest object first. Call before the first sync."""
        for node in sorted(nodes, key=lambda one: (one.created, one.name)):
            self._adopt(node)

    async def sync(self, name: str, node: CiliumNodeView | None, node_exists: bool) -> bool:
        """Bring one node to its CIDRs. `node` is the watched object, None when it is gone.

        While the Kubernetes Node exists its CIDRs are kept for a CiliumNode that comes back.
        True when CIDRs became free. Raises what the store raises; then call again later.
        """
        if node is None:
            self._latest.pop(name, None)
            self.failing.pop(name, None)
            if node_exists:
                return False
            node = await self._store.read(name)
            if node is None:
                self._unsure.discard(name)
                self._tell_outside(name, ())
                return self._allocator.forget(name)
        elif name in self._unsure or self._is_stale(node):
            node = await self._store.read(name)
        for _ in range(MAX_CONFLICTS):
            if node is None:
                return False
            try:
                return await self._bring(node)
            except ApiError as error:
                if not error.conflict:
                    raise
                node = await self._store.read(name)
        raise ApiError(409, "Conflict", "the object keeps changing", f"CiliumNode {name}")

    async def _bring(self, node: CiliumNodeView) -> bool:
        before = set(self._allocator.owned(node.name))
        listed, problems = self._adopt(node)
        missing: list[Network] = []
        if not problems:
            try:
                missing = self._allocator.wanted(node.name, listed)
            except PoolExhausted as error:
                problems.append(str(error))
        if missing:
            cidrs = [*node.pod_cidrs, *(str(network) for network in missing)]
            self._unsure.add(node.name)
            node = await self._store.write_cidrs(node.name, node.version, cidrs)
            self._remember(node)
            log.info("gave pod CIDRs", node=node.name, cidrs=cidrs)
            problems += self._still_missing(node)
        self._unsure.discard(node.name)
        await self._report(node, "; ".join(problems))
        return bool(before - set(self._allocator.owned(node.name)))

    def _still_missing(self, node: CiliumNodeView) -> list[str]:
        """Some families got theirs; say what keeps the others from it."""
        listed, problems = self._adopt(node)
        try:
            self._allocator.wanted(node.name, listed)
        except PoolExhausted as error:
            problems.append(str(error))
        return problems

    def _adopt(self, node: CiliumNodeView) -> tuple[list[Network], list[str]]:
        self._remember(node)
        problems: list[str] = []
        listed: list[Network] = []
        for text in node.pod_cidrs:
            try:
                listed.append(parse_network("spec.ipam.podCIDRs", text))
            except FieldError as error:
                problems.append(str(error))
        problems += [str(conflict) for conflict in self._allocator.adopt(node.name, listed)]
        self._tell_outside(node.name, listed)
        return listed, problems

    def _tell_outside(self, name: str, listed: Iterable[Network]) -> None:
        """Say once of each CIDR that it is kept although the configured pool has it not."""
        outside = set()
        for network in listed:
            pool = self._allocator.pools.get(network.version)
            if pool is not None and pool.covers(network):
                continue
            outside.add((name, network))
            if (name, network) not in self._outside:
                log.warning(
                    "pod CIDR is kept although it is outside the configured pool",
                    node=name,
                    cidr=str(network),
                    pool=", ".join(map(str, pool.networks)) if pool is not None else "none",
                )
        self._outside = {told for told in self._outside if told[0] != name} | outside

    async def _report(self, node: CiliumNodeView, error: str) -> None:
        if error:
            self.failing[node.name] = error
        else:
            self.failing.pop(node.name, None)
        if node.error == error:
            return
        self._remember(await self._store.write_error(node.name, node.version, error))
        if error:
            log.warning("no pod CIDR", node=node.name, error=error)
            await self._warn(node, "PodCIDRNotAllocated", error)

    def _remember(self, node: CiliumNodeView) -> None:
        self._latest[node.name] = node

    def _is_stale(self, node: CiliumNodeView) -> bool:
        known = self._latest.get(node.name)
        if known is None or known.uid != node.uid:
            return False
        if known.version.isdecimal() and node.version.isdecimal():
            return int(node.version) < int(known.version)
        return False


def cidr_patch(version: str, cidrs: list[str]) -> dict[str, Any]:
    """Return the merge patch that sets the CIDRs of this very version of the object."""
    return {"metadata": {"resourceVersion": version}, "spec": {"ipam": {"podCIDRs": cidrs}}}


def error_patch(version: str, error: str) -> dict[str, Any]:
    """Return the merge patch of the status subresource; an empty error clears it."""
    value = {"error": error} if error else {"error": None}
    status = {"ipam": {"operator-status": value}}
    return {"metadata": {"resourceVersion": version}, "status": status}
