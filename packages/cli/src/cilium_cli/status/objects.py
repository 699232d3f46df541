# SPDX-License-Identifier: Apache-2.0
"""The parts of Kubernetes objects that the status reads."""

from __future__ import annotations

import msgspec


class Meta(msgspec.Struct, rename="camel"):
    """Object metadata."""

    name: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    generation: int = 0


class Named(msgspec.Struct):
    """An object of which only the metadata matters."""

    metadata: Meta = msgspec.field(default_factory=Meta)


class ConfigMap(msgspec.Struct):
    """A ConfigMap."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    data: dict[str, str] | None = None


class ControllerSpec(msgspec.Struct, rename="camel"):
    """Spec of a Deployment (replicas) or DaemonSet (nothing of interest)."""

    replicas: int = 1


class DaemonSetStatus(msgspec.Struct, rename="camel"):
    """Counts of a DaemonSet."""

    observed_generation: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    updated_number_scheduled: int = 0


class DaemonSet(msgspec.Struct):
    """A DaemonSet."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    status: DaemonSetStatus = msgspec.field(default_factory=DaemonSetStatus)


class DeploymentStatus(msgspec.Struct, rename="camel"):
    """Counts of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    updated_replicas: int = 0


class Deployment(msgspec.Struct):
    """A Deployment."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: ControllerSpec = msgspec.field(default_factory=ControllerSpec)
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)


class Terminated(msgspec.Struct, rename="camel"):
    """How a container ended."""

    exit_code: int = 0
    message: str = ""


class Waiting(msgspec.Struct):
    """Why a container does not run."""

    reason: str = ""


class ContainerState(msgspec.Struct):
    """One state of a container; at most one field is set, `running` as an object."""

    running: dict[str, object] | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, rename="camel"):
    """Status of a container; image_id carries a registry digest or the local image's id."""

    name: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class Container(msgspec.Struct):
    """A container's name and image."""

    name: str = ""
    image: str = ""


class PodSpec(msgspec.Struct, rename="camel"):
    """The parts of a pod's spec that the status reads."""

    containers: list[Container] = []
    node_name: str = ""
    host_network: bool = False


class PodStatus(msgspec.Struct, rename="camel"):
    """Phase, and the reason when the pod failed."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    container_statuses: list[ContainerStatus] = []


class Pod(msgspec.Struct):
    """A pod."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


def image_of(pod: Pod, container: Container) -> str:
    """Return the image as asked for, with the digest that the registry gave it, if it has one.

    An image that was imported by hand has only a local id; that is no digest of a registry.
    """
    if "@" in container.image:
        return container.image
    for status in pod.status.container_statuses:
        if status.name == container.name and "@sha256:" in status.image_id:
            repository, _, digest = status.image_id.partition("@")
            plain, _, tag = container.image.rpartition(":")
            asked = plain if plain and "/" not in tag else container.image
            if repository.removeprefix("docker-pullable://").endswith(asked):
                return f"{container.image}@{digest}"
    return container.image
