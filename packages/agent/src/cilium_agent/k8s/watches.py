# SPDX-License-Identifier: Apache-2.0
"""The collections that an agent follows: its own pods fully, the rest in slim form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import (
    NamespaceObject,
    NodeObject,
    PodObject,
    PolicyObject,
    ServiceObject,
    SliceObject,
)
from cilium_agent.k8s.watch import Reflector
from cilium_core.crds.models import CiliumCIDRGroup, CiliumEndpoint, CiliumIdentity, CiliumNode

_CILIUM = "/apis/cilium.io/v2"


@dataclass(frozen=True, slots=True)
class Watches:
    """One informer for each collection."""

    pods: Informer[PodObject]
    namespaces: Informer[NamespaceObject]
    services: Informer[ServiceObject]
    slices: Informer[SliceObject]
    node: Informer[NodeObject]
    ciliumnodes: Informer[CiliumNode]
    ciliumendpoints: Informer[CiliumEndpoint]
    ciliumidentities: Informer[CiliumIdentity]
    networkpolicies: Informer[PolicyObject]
    ciliumnetworkpolicies: Informer[PolicyObject]
    ciliumclusterwidenetworkpolicies: Informer[PolicyObject]
    ciliumcidrgroups: Informer[CiliumCIDRGroup]

    @classmethod
    def of(cls, client: ApiClient, node: str) -> Watches:
        """Make the informers of the node with this name; they run when their tasks do."""
        own_pods = {"fieldSelector": f"spec.nodeName={node}"}
        own_node = {"fieldSelector": f"metadata.name={node}"}
        slices = "/apis/discovery.k8s.io/v1/endpointslices"
        return cls(
            pods=Informer("Pod", Reflector(client, "/api/v1/pods", PodObject, own_pods)),
            namespaces=Informer(
                "Namespace", Reflector(client, "/api/v1/namespaces", NamespaceObject)
            ),
            services=Informer("Service", Reflector(client, "/api/v1/services", ServiceObject)),
            slices=Informer("EndpointSlice", Reflector(client, slices, SliceObject)),
            node=Informer("Node", Reflector(client, "/api/v1/nodes", NodeObject, own_node)),
            ciliumnodes=Informer(
                "CiliumNode", Reflector(client, f"{_CILIUM}/ciliumnodes", CiliumNode)
            ),
            ciliumendpoints=Informer(
                "CiliumEndpoint", Reflector(client, f"{_CILIUM}/ciliumendpoints", CiliumEndpoint)
            ),
            ciliumidentities=Informer(
                "CiliumIdentity", Reflector(client, f"{_CILIUM}/ciliumidentities", CiliumIdentity)
            ),
            networkpolicies=Informer(
                "NetworkPolicy",
                Reflector(client, "/apis/networking.k8s.io/v1/networkpolicies", PolicyObject),
            ),
            ciliumnetworkpolicies=Informer(
                "CiliumNetworkPolicy",
                Reflector(client, f"{_CILIUM}/ciliumnetworkpolicies", PolicyObject),
            ),
            ciliumclusterwidenetworkpolicies=Informer(
                "CiliumClusterwideNetworkPolicy",
                Reflector(client, f"{_CILIUM}/ciliumclusterwidenetworkpolicies", PolicyObject),
            ),
            ciliumcidrgroups=Informer(
                "CiliumCIDRGroup",
                Reflector(client, f"{_CILIUM}/ciliumcidrgroups", CiliumCIDRGroup),
            ),
        )

    def all(self) -> Iterator[Informer[Any]]:
        """Yield every informer."""
        yield self.pods
        yield self.namespaces
        yield self.services
        yield self.slices
        yield self.node
        yield self.ciliumnodes
        yield self.ciliumendpoints
        yield self.ciliumidentities
        yield from self.policies()
        yield self.ciliumcidrgroups

    def policies(self) -> Iterator[Informer[PolicyObject]]:
        """Yield the informers of the three kinds of policy; `scope` is the kind."""
        yield self.networkpolicies
        yield self.ciliumnetworkpolicies
        yield self.ciliumclusterwidenetworkpolicies
