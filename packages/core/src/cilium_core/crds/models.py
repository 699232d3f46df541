# SPDX-License-Identifier: Apache-2.0
"""Typed structures of the custom resources that agents and operator exchange.

They hold the fields that this system uses; what else an object carries is ignored on decoding,
so write with patches or with the fields that you own. msgspec decodes JSON straight into them.
Immutable by convention; safe to share between tasks.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Resource(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Base: JSON names in camelCase, defaults are left out."""


class Dashed(msgspec.Struct, rename="kebab", omit_defaults=True, kw_only=True):
    """Base of the structures whose JSON names have dashes."""


class Root(Resource, omit_defaults=False, kw_only=True):
    """Base of whole objects: apiVersion, kind and the sections are always written."""


class OwnerReference(Resource):
    """metadata.ownerReferences[]."""

    api_version: str
    kind: str
    name: str
    uid: str


class ObjectMeta(Resource):
    """metadata, as far as it is used. Timestamps are RFC 3339 text."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []


class NodeAddress(Resource):
    """One entry of CiliumNode.spec.addresses; type is InternalIP, ExternalIP, CiliumInternalIP."""

    type: str = ""
    ip: str = ""


class AddressPair(Resource):
    """An address per family; empty when there is none."""

    ipv4: str = ""
    ipv6: str = ""


class EncryptionSpec(Resource):
    """Index of the encryption key; 0 is none."""

    key: int = 0


class NodeIPAMSpec(Resource):
    """CiliumNode.spec.ipam."""

    pod_cidrs: list[str] = msgspec.field(default_factory=list, name="podCIDRs")


class CiliumNodeSpec(Resource):
    """CiliumNode.spec: the agent writes all but ipam.podCIDRs, which is the operator's."""

    addresses: list[NodeAddress] = []
    health: AddressPair | None = None
    ingress: AddressPair | None = None
    encryption: EncryptionSpec | None = None
    bootid: str = ""
    ipam: NodeIPAMSpec = msgspec.field(default_factory=NodeIPAMSpec)


class OperatorStatus(Resource):
    """Why the operator could not give a CIDR; empty when all is well."""

    error: str = ""


class NodeIPAMStatus(Dashed):
    """CiliumNode.status.ipam."""

    operator_status: OperatorStatus = msgspec.field(default_factory=OperatorStatus)


class CiliumNodeStatus(Resource):
    """CiliumNode.status."""

    ipam: NodeIPAMStatus = msgspec.field(default_factory=NodeIPAMStatus)


class CiliumNode(Root):
    """A node of the mesh; its name is the Node's."""

    api_version: str = "cilium.io/v2"
    kind: str = "CiliumNode"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: CiliumNodeSpec = msgspec.field(default_factory=CiliumNodeSpec)
    status: CiliumNodeStatus = msgspec.field(default_factory=CiliumNodeStatus)


class CiliumIdentity(Root):
    """A cluster-wide identity: the name is its decimal number."""

    api_version: str = "cilium.io/v2"
    kind: str = "CiliumIdentity"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    security_labels: dict[str, str] = msgspec.field(default_factory=dict, name="security-labels")


class EndpointIdentity(Resource):
    """CiliumEndpoint.status.identity; id 0 means none yet."""

    id: int = 0
    labels: list[str] = []


class EndpointNetworking(Resource, omit_defaults=False):
    """CiliumEndpoint.status.networking; `node` is the address of the endpoint's node."""

    addressing: list[AddressPair] = []
    node: str = ""


class NamedPort(Resource):
    """A named port of a container."""

    name: str
    port: int
    protocol: str


class PolicyDirection(Resource, omit_defaults=False):
    """CiliumEndpoint.status.policy.ingress or .egress."""

    enforcing: bool = False
    state: str = ""


class EndpointPolicy(Resource):
    """CiliumEndpoint.status.policy."""

    ingress: PolicyDirection | None = None
    egress: PolicyDirection | None = None


class ExternalIdentifiers(Resource):
    """CiliumEndpoint.status.external-identifiers."""

    cni_attachment_id: str = msgspec.field(default="", name="cni-attachment-id")
    container_id: str = msgspec.field(default="", name="container-id")
    k8s_namespace: str = msgspec.field(default="", name="k8s-namespace")
    k8s_pod_name: str = msgspec.field(default="", name="k8s-pod-name")
    pod_name: str = msgspec.field(default="", name="pod-name")


class CiliumEndpointStatus(Dashed):
    """CiliumEndpoint.status, written by the agent that owns the endpoint."""

    id: int = 0
    identity: EndpointIdentity | None = None
    networking: EndpointNetworking | None = None
    policy: EndpointPolicy | None = None
    state: str = ""
    named_ports: list[NamedPort] = []
    encryption: EncryptionSpec | None = None
    external_identifiers: ExternalIdentifiers | None = None
    service_account: str = ""


class CiliumEndpoint(Root):
    """The endpoint of a pod; name and namespace are the pod's."""

    api_version: str = "cilium.io/v2"
    kind: str = "CiliumEndpoint"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    status: CiliumEndpointStatus = msgspec.field(default_factory=CiliumEndpointStatus)


class PolicyCondition(Resource):
    """status.conditions[] of a policy; the type that matters is Valid."""

    type: str
    status: str
    last_transition_time: str = ""
    reason: str = ""
    message: str = ""


class PolicyStatus(Resource):
    """status of both policy kinds."""

    conditions: list[PolicyCondition] = []


class CiliumNetworkPolicy(Root):
    """Either policy kind. Rules stay plain JSON: the policy language parses them itself."""

    api_version: str = "cilium.io/v2"
    kind: str = "CiliumNetworkPolicy"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: dict[str, Any] | None = None
    specs: list[dict[str, Any]] | None = None
    status: PolicyStatus = msgspec.field(default_factory=PolicyStatus)


class CIDRGroupSpec(Resource):
    """CiliumCIDRGroup.spec."""

    external_cidrs: list[str] = msgspec.field(default_factory=list, name="externalCIDRs")


class CiliumCIDRGroup(Root):
    """Prefixes under a name."""

    api_version: str = "cilium.io/v2"
    kind: str = "CiliumCIDRGroup"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: CIDRGroupSpec = msgspec.field(default_factory=CIDRGroupSpec)
