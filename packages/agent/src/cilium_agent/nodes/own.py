# SPDX-License-Identifier: Apache-2.0
"""This node's CiliumNode: made and kept by its agent, given pod CIDRs by the operator.

Writes are patches of the fields that are the agent's, so the operator's share is not touched; only
an object without any pod CIDRs, as one that is made again, gets those that this node has in use,
which the operator adopts. Other agents tunnel to what the object says, so one that was deleted or
changed is put right at once, and its owner is always the Node that is registered now: Kubernetes
would collect it with a Node of the past. One task writes at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import aiohttp
import msgspec
import structlog

from cilium_agent.errors import AgentError
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import NodeObject
from cilium_agent.nodes.announcement import change_of, owners_of, share_of, spec_of
from cilium_agent.nodes.fields import INTERNAL_IP, announced, pod_cidrs
from cilium_core.addresses import Address, Network
from cilium_core.cidr import overlaps
from cilium_core.crds.models import CiliumNode, CiliumNodeSpec, ObjectMeta
from cilium_core.errors import FieldError

log = structlog.get_logger(__name__)

PATH = "/apis/cilium.io/v2/ciliumnodes"


def internal_addresses(node: NodeObject) -> tuple[IPv4Address | None, IPv6Address | None]:
    """Return the Node's first InternalIP of each family."""
    v4: IPv4Address | None = None
    v6: IPv6Address | None = None
    for kind, address in announced(node):
        if kind != INTERNAL_IP:
            continue
        if isinstance(address, IPv4Address):
            v4 = v4 or address
        else:
            v6 = v6 or address
    return v4, v6


def pod_networks(
    texts: Iterable[str], *, ipv4: bool, ipv6: bool
) -> tuple[IPv4Network | None, IPv6Network | None] | None:
    """Return the pod CIDR of each family in use, None while one is missing. Pure."""
    v4: IPv4Network | None = None
    v6: IPv6Network | None = None
    for network in pod_cidrs(texts):
        if isinstance(network, IPv4Network):
            v4 = v4 or (network if ipv4 else None)
        else:
            v6 = v6 or (network if ipv6 else None)
    if (ipv4 and v4 is None) or (ipv6 and v6 is None):
        return None
    return v4, v6


class OwnNode:
    """Keeps this node's CiliumNode in step with its Node."""

    def __init__(
        self,
        client: ApiClient,
        name: str,
        node: Informer[NodeObject],
        ciliumnodes: Informer[CiliumNode],
    ) -> None:
        """`node` follows the Node of this name only."""
        self._client = client
        self._name = name
        self._node = node
        self._ciliumnodes = ciliumnodes
        self._routers: tuple[Address | None, ...] = ()
        self._networks: tuple[Network, ...] = ()
        self._changed = asyncio.Event()
        node.on_change(self._node_changed)
        ciliumnodes.on_change(self._ciliumnode_changed)

    def node(self) -> NodeObject:
        """Return this node's Node. AgentError when the cluster does not know it."""
        found = self._node.get("", self._name)
        if found is None:
            raise AgentError(f"Node {self._name!r} is not in the API server: check K8S_NODE_NAME")
        return found

    def cilium_node(self) -> CiliumNode | None:
        """Return this node's CiliumNode as last seen."""
        return self._ciliumnodes.get("", self._name)

    def announce(
        self, routers: Sequence[Address | None], networks: Sequence[Network | None]
    ) -> None:
        """Say which router addresses and pod CIDRs this node has in use; `run` writes them."""
        self._routers = tuple(routers)
        self._networks = tuple(network for network in networks if network is not None)
        self._changed.set()

    def claim(self, networks: Sequence[Network]) -> None:
        """Say which pod CIDRs this node had in use last, before `publish` or `announce`."""
        self._networks = tuple(networks)

    def lacks_networks(self) -> bool:
        """Tell whether the object is gone or has no pod CIDR although this node has some in use."""
        held = self.cilium_node()
        return held is None or not held.spec.ipam.pod_cidrs and bool(self._unclaimed())

    async def publish(self, routers: Sequence[Address | None] | None = None) -> None:
        """Write the agent's share, again and again until the server has taken it."""
        if routers is not None:
            self._routers = tuple(routers)
        backoff = Backoff()
        while not await self._attempt():
            await backoff.sleep()

    async def run(self) -> None:
        """Put the object right whenever it, or the Node, changes; until cancelled."""
        backoff = Backoff()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._is_right() or await self._attempt():
                backoff.reset()
            else:
                await backoff.sleep()
                self._changed.set()

    def _is_right(self) -> bool:
        """Tell from the local copies whether nothing is to be done.

        Without a Node there is nothing to announce: the operator deletes the object, and the
        Node's return wakes us.
        """
        node, held = self._node.get("", self._name), self.cilium_node()
        if node is None:
            return True
        if held is None or self.lacks_networks():
            return False
        return not change_of(held, spec_of(node, self._routers), node)

    async def _attempt(self) -> bool:
        try:
            await self._write(self.node())
        except (AgentError, aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("CiliumNode not written", error=str(error) or repr(error))
            return False
        return True

    async def _write(self, node: NodeObject) -> None:
        """Make the object, or change what is not right about the one that the server has.

        AgentError for a refusal, and for an object that is on its way out: try again later.
        """
        wanted = spec_of(node, self._routers)
        found = await self._client.find(f"{PATH}/{self._name}", CiliumNode)
        if found is None:
            await self._client.create(PATH, self._fresh(node, wanted), CiliumNode)
            log.info("CiliumNode made", node=self._name)
            return
        if found.metadata.deletion_timestamp:
            raise AgentError("the CiliumNode is being deleted; it is made again when it is gone")
        change = change_of(found, wanted, node)
        networks = self._unclaimed() if not found.spec.ipam.pod_cidrs else ()
        if networks:
            # For this version only: an operator may just be giving it others.
            change.setdefault("metadata", {})["resourceVersion"] = found.metadata.resource_version
            change.setdefault("spec", {})["ipam"] = {"podCIDRs": [str(n) for n in networks]}
            log.warning("CiliumNode had lost this node's pod CIDRs", cidrs=[*map(str, networks)])
        if change:
            await self._client.patch(f"{PATH}/{self._name}", change)
            log.info("CiliumNode changed", node=self._name, fields=sorted(change))

    def _fresh(self, node: NodeObject, wanted: CiliumNodeSpec) -> dict[str, Any]:
        meta = ObjectMeta(
            name=self._name, labels=dict(node.metadata.labels), owner_references=owners_of((), node)
        )
        spec = share_of(wanted)
        networks = self._unclaimed()
        if networks:
            spec["ipam"] = {"podCIDRs": [str(network) for network in networks]}
        return {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNode",
            "metadata": msgspec.to_builtins(meta),
            "spec": spec,
        }

    def _unclaimed(self) -> tuple[Network, ...]:
        """Return this node's pod CIDRs; none when another node was given one of them meanwhile.

        The operator then gives this node others, with which the agent starts over.
        """
        for other in self._ciliumnodes.items.values():
            if other.metadata.name == self._name:
                continue
            for theirs in pod_cidrs(other.spec.ipam.pod_cidrs):
                if any(overlaps(theirs, ours) for ours in self._networks):
                    log.error(
                        "a pod CIDR of this node belongs to another now",
                        cidr=str(theirs),
                        owner=other.metadata.name,
                    )
                    return ()
        return self._networks

    def _node_changed(self, _old: NodeObject | None, new: NodeObject | None) -> None:
        if new is not None:
            problems: list[FieldError] = []
            announced(new, problems)
            for problem in problems:
                log.warning("field of this node's Node left out", error=str(problem))
        self._changed.set()

    def _ciliumnode_changed(self, old: CiliumNode | None, new: CiliumNode | None) -> None:
        item = new or old
        if item is None or item.metadata.name != self._name:
            return
        if new is None:
            log.warning("this node's CiliumNode is gone")
        else:
            problems: list[FieldError] = []
            pod_cidrs(new.spec.ipam.pod_cidrs, problems)
            for problem in problems:
                log.warning("field of this node's CiliumNode left out", error=str(problem))
        self._changed.set()
