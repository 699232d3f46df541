# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes objects that a trace looks at, as far as it does; other fields are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from cilium_core.errors import FieldError


class Part(msgspec.Struct, rename="camel", kw_only=True):
    """Base: JSON names in camelCase."""


class Metadata(Part):
    """metadata."""

    name: str
    namespace: str | None = None
    labels: dict[str, str] | None = None


class Manifest(Part):
    """Base of whole objects."""

    metadata: Metadata

    @property
    def namespace(self) -> str:
        """The namespace, as kubectl would fill it in."""
        return self.metadata.namespace or "default"

    @property
    def name(self) -> str:
        """`namespace/name`, for objects that are in one."""
        return f"{self.namespace}/{self.metadata.name}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels, if there are any."""
        return self.metadata.labels or {}


class Namespace(Manifest):
    """v1 Namespace."""


class Address(Part):
    """An element of podIPs, of a node's addresses, or of a load balancer's ingress."""

    ip: str = ""
    address: str = ""
    type: str = ""


class NodeStatus(Part):
    """Node.status."""

    addresses: list[Address] | None = None


class Node(Manifest):
    """v1 Node."""

    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class ContainerPort(Part):
    """containers[].ports[]."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(Part):
    """containers[]."""

    ports: list[ContainerPort] | None = None


class PodSpec(Part):
    """Pod.spec."""

    node_name: str = ""
    service_account_name: str = ""
    host_network: bool = False
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodStatus(Part):
    """Pod.status."""

    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[Address] | None = msgspec.field(default=None, name="podIPs")
    phase: str = ""


class Pod(Manifest):
    """v1 Pod."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ServicePort(Part):
    """Service.spec.ports[]."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(Part):
    """Service.spec."""

    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None


class LoadBalancer(Part):
    """Service.status.loadBalancer."""

    ingress: list[Address] | None = None


class ServiceStatus(Part):
    """Service.status."""

    load_balancer: LoadBalancer = msgspec.field(default_factory=LoadBalancer)


class Service(Manifest):
    """v1 Service."""

    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: ServiceStatus = msgspec.field(default_factory=ServiceStatus)


class Conditions(Part):
    """endpoints[].conditions."""

    ready: bool | None = None


class Endpoint(Part):
    """EndpointSlice.endpoints[]."""

    addresses: list[str] = []
    conditions: Conditions = msgspec.field(default_factory=Conditions)


class EndpointPort(Part):
    """EndpointSlice.ports[]."""

    name: str | None = None
    port: int | None = None
    protocol: str = "TCP"


class EndpointSlice(Manifest):
    """discovery.k8s.io/v1 EndpointSlice."""

    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None

    @property
    def service(self) -> str:
        """The `namespace/name` of the service that it belongs to."""
        return f"{self.namespace}/{self.labels.get('kubernetes.io/service-name', '')}"


Kind = TypeVar("Kind", bound=Manifest)


def read(body: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Return an object, as decoded from JSON, in its structure. FieldError when it does not fit."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise FieldError(path.strip("`.") or str(body.get("kind")), reason) from error
