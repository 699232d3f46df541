# SPDX-License-Identifier: Apache-2.0
"""This node's CiliumNode: made and kept by its agent, given pod CIDRs by the operator.

Writes are merge patches of the fields that are the agent's, so the operator's share is never
touched. One task.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

import aiohttp
import structlog

from cilium_agent.errors import AgentError, ApiError
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import NodeObject
from cilium_core.addresses import Address
from cilium_core.crds.models import CiliumNode

log = structlog.get_logger(__name__)

PATH = "/apis/cilium.io/v2/ciliumnodes"
INTERNAL_IP = "InternalIP"
ROUTER_IP = "CiliumInternalIP"


def internal_addresses(node: NodeObject) -> tuple[IPv4Address | None, IPv6Address | None]:
    """Return the node's first InternalIP of each family."""
    v4: IPv4Address | None = None
    v6: IPv6Address | None = None
    for entry in node.status.addresses:
        if entry.type != INTERNAL_IP:
            continue
        parsed = ip_address(entry.address)
        if isinstance(parsed, IPv4Address):
            v4 = v4 or parsed
        else:
            v6 = v6 or parsed
    return v4, v6


def pod_networks(
    pod_cidrs: list[str], *, ipv4: bool, ipv6: bool
) -> tuple[IPv4Network | None, IPv6Network | None] | None:
    """Return the pod CIDR of each family in use, None while one is missing. Pure."""
    v4: IPv4Network | None = None
    v6: IPv6Network | None = None
    for text in pod_cidrs:
        network = ip_network(text)
        if isinstance(network, IPv4Network):
            v4 = v4 or (network if ipv4 else None)
        else:
            v6 = v6 or (network if ipv6 else None)
    if (ipv4 and v4 is None) or (ipv6 and v6 is None):
        return None
    return v4, v6


def spec_of(node: NodeObject, routers: tuple[Address | None, ...]) -> dict[str, Any]:
    """Return the agent's share of CiliumNode.spec. Pure."""
    entries = [
        {"type": entry.type, "ip": entry.address}
        for entry in node.status.addresses
        if entry.type in (INTERNAL_IP, "ExternalIP")
    ]
    entries += [{"type": ROUTER_IP, "ip": str(address)} for address in routers if address]
    return {
        "addresses": entries,
        "bootid": node.status.node_info.boot_id,
        "encryption": {"key": 0},
    }


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

    def node(self) -> NodeObject:
        """Return this node's Node. AgentError when the cluster does not know it."""
        found = self._node.get("", self._name)
        if found is None:
            raise AgentError(f"Node {self._name!r} is not in the API server: check K8S_NODE_NAME")
        return found

    def cilium_node(self) -> CiliumNode | None:
        """Return this node's CiliumNode as last seen."""
        return self._ciliumnodes.get("", self._name)

    async def publish(self, routers: tuple[Address | None, ...] = ()) -> None:
        """Write the agent's share, again and again until the server has taken it."""
        backoff = Backoff()
        while True:
            try:
                await self._write(spec_of(self.node(), routers))
                return
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("CiliumNode not written", error=str(error) or repr(error))
            await backoff.sleep()

    async def _write(self, spec: Mapping[str, Any]) -> None:
        own = self.node()
        body: dict[str, Any] = {"spec": spec}
        if await self._client.find(f"{PATH}/{self._name}", CiliumNode) is not None:
            await self._client.patch(f"{PATH}/{self._name}", body)
            return
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": own.metadata.name,
            "uid": own.metadata.uid,
        }
        body |= {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNode",
            "metadata": {
                "name": self._name,
                "labels": own.metadata.labels,
                "ownerReferences": [owner],
            },
        }
        try:
            await self._client.create(PATH, body, CiliumNode)
        except ApiError as error:
            if not error.already_exists:
                raise
            await self._client.patch(f"{PATH}/{self._name}", {"spec": spec})
