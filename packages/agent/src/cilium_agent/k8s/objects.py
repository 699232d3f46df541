# SPDX-License-Identifier: Apache-2.0
"""Slim typed structures of the built-in kinds: only the fields that the agent uses.

msgspec decodes straight into them, so that a large cluster's objects cost little memory.
Immutable by convention.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Slim(msgspec.Struct, rename="camel", kw_only=True):
    """Base: JSON names in camelCase, unknown fields are skipped."""


class Meta(Slim):
    """metadata, as far as it is used."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ContainerPort(Slim):
    """A declared port of a container."""

    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(Slim):
    """A container of a pod."""

    ports: list[ContainerPort] = []


class PodSpec(Slim):
    """spec of a pod."""

    node_name: str = ""
    service_account_name: str = ""
    host_network: bool = False
    containers: list[Container] = []


class PodIP(Slim):
    """status.podIPs[]."""

    ip: str = ""


class PodStatus(Slim):
    """status of a pod."""

    phase: str = ""
    pod_ips: list[PodIP] = msgspec.field(default_factory=list, name="podIPs")


class PodObject(Slim):
    """A pod of the core group."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class NamespaceObject(Slim):
    """A namespace: its labels count for identities."""

    metadata: Meta


class NodeAddressObject(Slim):
    """status.addresses[] of a node."""

    type: str = ""
    address: str = ""


class NodeInfo(Slim):
    """status.nodeInfo of a node."""

    boot_id: str = msgspec.field(default="", name="bootID")


class NodeStatus(Slim):
    """status of a node."""

    addresses: list[NodeAddressObject] = []
    node_info: NodeInfo = msgspec.field(default_factory=NodeInfo)


class NodeObject(Slim):
    """A node of the core group."""

    metadata: Meta
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class ServicePort(Slim):
    """spec.ports[] of a service."""

    name: str = ""
    port: int = 0
    protocol: str = "TCP"


class ClientIP(Slim):
    """Duration of session affinity."""

    timeout_seconds: int | None = 10800


class AffinityConfig(Slim):
    """spec.sessionAffinityConfig."""

    client_ip: ClientIP | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(Slim):
    """spec of a service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] = msgspec.field(default_factory=list, name="clusterIPs")
    ports: list[ServicePort] = []
    internal_traffic_policy: str | None = None
    session_affinity: str = "None"
    session_affinity_config: AffinityConfig | None = None


class ServiceObject(Slim):
    """A service."""

    metadata: Meta
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class Conditions(Slim):
    """conditions of an endpoint; unset `ready` means ready, unset `serving` follows it."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Slim):
    """endpoints[] of an EndpointSlice."""

    addresses: list[str] = []
    conditions: Conditions = msgspec.field(default_factory=Conditions)
    node_name: str | None = None


class SlicePort(Slim):
    """ports[] of an EndpointSlice."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class SliceObject(Slim):
    """An EndpointSlice; its service is named by a label."""

    metadata: Meta
    address_type: str = ""
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class PolicyObject(Slim):
    """A policy of any kind: its rules as they are, for the policy language to read."""

    metadata: Meta
    spec: dict[str, Any] | None = None
    specs: list[dict[str, Any]] | None = None
