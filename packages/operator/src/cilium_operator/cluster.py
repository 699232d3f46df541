# SPDX-License-Identifier: Apache-2.0
"""The watched part of the cluster, by name, as kopf's indexes hold it.

kopf tells nobody of objects that vanished while a watch was broken for long. `compare` finds
them from a fresh list and they are left out from then on. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from cilium_operator.views import AgentView, CiliumNodeView, NodeView, Seen, ServiceCIDRView

S = TypeVar("S", bound=Seen)
Index = Mapping[str, Iterable[Any]]


class Cluster:
    """Typed reads over the indexes."""

    def __init__(self) -> None:
        """Nothing is known before attach()."""
        self.synced = asyncio.Event()
        self._indexes: Mapping[str, Index] = {}
        self._gone: set[str] = set()

    def attach(self, indexes: Mapping[str, Index]) -> None:
        """Take the indexes; they are complete when this is called first."""
        self._indexes = indexes
        self.synced.set()

    def node(self, name: str) -> NodeView | None:
        """Return a Node."""
        return self._newest("nodes", name, NodeView)

    def cilium_node(self, name: str) -> CiliumNodeView | None:
        """Return a CiliumNode."""
        return self._newest("cilium_nodes", name, CiliumNodeView)

    def service_cidr(self, name: str) -> ServiceCIDRView | None:
        """Return a ServiceCIDR."""
        return self._newest("service_cidrs", name, ServiceCIDRView)

    def agents(self, node: str) -> list[AgentView]:
        """Return the agent pods on a node."""
        return list(self._alive("agents", node, AgentView))

    def names(self, index: str) -> list[str]:
        """Return the keys of an index."""
        return list(self._indexes.get(index, ()))

    def uids(self, index: str) -> set[str]:
        """Return the UIDs of all objects in an index."""
        held = self._indexes.get(index, {})
        return {view.uid for name in list(held) for view in held[name]}

    def compare(self, index: str, before: set[str], alive: set[str]) -> None:
        """Leave out objects that were held (`before`) when a list that lacks them was asked for."""
        self._gone = (self._gone | (before - alive)) & self._all_uids()

    def _all_uids(self) -> set[str]:
        return {uid for index in self._indexes for uid in self.uids(index)}

    def _newest(self, index: str, name: str, kind: type[S]) -> S | None:
        views = self._alive(index, name, kind)
        return max(views, key=lambda view: (view.created, view.uid), default=None)

    def _alive(self, index: str, name: str, kind: type[S]) -> Iterator[S]:
        held = self._indexes.get(index, {})
        for view in held.get(name, ()):
            if isinstance(view, kind) and view.uid not in self._gone:
                yield view
