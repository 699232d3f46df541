# SPDX-License-Identifier: Apache-2.0
"""The CustomResourceDefinition objects that the operator registers.

`definitions()` returns fresh dicts fit for the API server. `SCHEMA_VERSION` grows with each
change of a schema; the operator leaves definitions of a newer version alone. Pure.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from cilium_core.crds import nodes, policy
from cilium_core.crds.schema import Schema

GROUP = "cilium.io"
VERSION = "v2"
SCHEMA_VERSION = "1.34.5"
SCHEMA_VERSION_LABEL = "io.cilium.k8s.crd.schema.version"


class Column(msgspec.Struct, frozen=True):
    """A printer column of `kubectl get`; priority 1 shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0

    def manifest(self) -> dict[str, Any]:
        """Return the entry of additionalPrinterColumns."""
        entry: dict[str, Any] = {"name": self.name, "jsonPath": self.path, "type": self.type}
        if self.priority:
            entry["priority"] = self.priority
        return entry


class Definition(msgspec.Struct, frozen=True):
    """What distinguishes one custom resource from another."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    scope: str
    columns: tuple[Column, ...]
    has_status: bool
    categories: tuple[str, ...] = ("cilium",)

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition object."""
        return f"{self.plural}.{GROUP}"


AGE = Column("Age", ".metadata.creationTimestamp", "date")
VALID = Column("Valid", ".status.conditions[?(@.type=='Valid')].status")
POLICY = ("cilium", "ciliumpolicy")

CILIUM_NETWORK_POLICY = Definition(
    "CiliumNetworkPolicy",
    "ciliumnetworkpolicies",
    ("cnp", "ciliumnp"),
    "Namespaced",
    (AGE, VALID),
    True,
    POLICY,
)
CILIUM_CLUSTERWIDE_NETWORK_POLICY = Definition(
    "CiliumClusterwideNetworkPolicy",
    "ciliumclusterwidenetworkpolicies",
    ("ccnp",),
    "Cluster",
    (VALID,),
    True,
    POLICY,
)
CILIUM_CIDR_GROUP = Definition(
    "CiliumCIDRGroup", "ciliumcidrgroups", ("ccg",), "Cluster", (), False
)
CILIUM_IDENTITY = Definition(
    "CiliumIdentity",
    "ciliumidentities",
    ("ciliumid",),
    "Cluster",
    (Column("Namespace", r".metadata.labels.io\.kubernetes\.pod\.namespace"), AGE),
    True,
)
CILIUM_ENDPOINT = Definition(
    "CiliumEndpoint",
    "ciliumendpoints",
    ("cep", "ciliumep"),
    "Namespaced",
    (
        Column("Security Identity", ".status.identity.id", "integer"),
        Column("Ingress Enforcement", ".status.policy.ingress.state", priority=1),
        Column("Egress Enforcement", ".status.policy.egress.state", priority=1),
        Column("Endpoint State", ".status.state"),
        Column("IPv4", ".status.networking.addressing[0].ipv4"),
        Column("IPv6", ".status.networking.addressing[0].ipv6"),
    ),
    False,
)
CILIUM_NODE = Definition(
    "CiliumNode",
    "ciliumnodes",
    ("cn", "ciliumn"),
    "Cluster",
    (
        Column("CiliumInternalIP", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
        Column("InternalIP", '.spec.addresses[?(@.type=="InternalIP")].ip'),
        AGE,
    ),
    True,
)

_SCHEMAS = (
    (CILIUM_NETWORK_POLICY, partial(policy.policy_schema, clusterwide=False)),
    (CILIUM_CLUSTERWIDE_NETWORK_POLICY, partial(policy.policy_schema, clusterwide=True)),
    (CILIUM_CIDR_GROUP, policy.cidr_group_schema),
    (CILIUM_IDENTITY, nodes.identity_schema),
    (CILIUM_ENDPOINT, nodes.endpoint_schema),
    (CILIUM_NODE, nodes.node_schema),
)


def manifest(definition: Definition, schema: Schema) -> dict[str, Any]:
    """Return the CustomResourceDefinition object of one resource."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    if definition.columns:
        version["additionalPrinterColumns"] = [column.manifest() for column in definition.columns]
    if definition.has_status:
        version["subresources"] = {"status": {}}
    names: dict[str, Any] = {
        "kind": definition.kind,
        "listKind": f"{definition.kind}List",
        "plural": definition.plural,
        "singular": definition.kind.lower(),
        "shortNames": list(definition.short_names),
        "categories": list(definition.categories),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": definition.name,
            "labels": {SCHEMA_VERSION_LABEL: SCHEMA_VERSION},
        },
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": definition.scope,
            "versions": [version],
        },
    }


def definitions() -> list[dict[str, Any]]:
    """Return every CustomResourceDefinition of this system, in the order to register them."""
    return [manifest(definition, build()) for definition, build in _SCHEMAS]
