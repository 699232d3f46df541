# SPDX-License-Identifier: Apache-2.0
"""Pods and their security labels; implements `ports.Pods` over the API server.

CNI asks the server itself, since the watch may be behind; labels of namespaces come from the
informer. One event loop.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from cilium_agent.errors import PodGone
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import NamespaceObject, PodObject
from cilium_agent.model import Pod
from cilium_core.addresses import Address, parse_address
from cilium_core.errors import FieldError
from cilium_core.labels import LabelFilter, LabelSet, pod_labels

T = TypeVar("T")
STATIC_UID = "kubernetes.io/config.mirror"


class Reader(Protocol):
    """The part of the API client that is used here."""

    async def find(self, path: str, kind: type[T]) -> T | None: ...


class PodReader:
    """Finds pods and says which labels make their identity."""

    def __init__(
        self,
        client: Reader,
        namespaces: Informer[NamespaceObject],
        labels: LabelFilter,
        cluster: str,
    ) -> None:
        """`cluster` is this cluster's name, itself a label."""
        self._client = client
        self._namespaces = namespaces
        self._filter = labels
        self._cluster = cluster

    async def get(self, namespace: str, name: str, uid: str) -> Pod:
        """Return the pod from the API server. PodGone when absent or of another uid.

        An empty `uid` accepts any (runtimes older than CNI's K8S_POD_UID). A static pod is
        known to the runtime by another uid than its mirror in the API server, which names it.
        """
        found = await self._client.find(f"/api/v1/namespaces/{namespace}/pods/{name}", PodObject)
        if found is None:
            raise PodGone(f"pod {namespace}/{name} is not in the API server")
        if uid not in ("", found.metadata.uid, found.metadata.annotations.get(STATIC_UID)):
            raise PodGone(f"pod {namespace}/{name} has uid {found.metadata.uid} now, not {uid}")
        return to_pod(found)

    async def security_labels(self, pod: Pod) -> LabelSet:
        """Return the labels that count for identity. Waits for the first list of namespaces."""
        await self._namespaces.synced.wait()
        known = self._namespaces.get("", pod.namespace)
        if known is None:  # made after the last event: ask
            path = f"/api/v1/namespaces/{pod.namespace}"
            known = await self._client.find(path, NamespaceObject)
        if known is None:
            raise PodGone(f"namespace {pod.namespace} is not in the API server")
        return self.labels_in(pod, known)

    def labels_in(self, pod: Pod, namespace: NamespaceObject) -> LabelSet:
        """Return the filtered labels of a pod in a namespace. Pure."""
        labels = namespace.metadata.labels
        return self._filter.apply(
            pod_labels(
                pod.labels,
                pod.namespace,
                labels,
                pod.service_account,
                self._cluster,
                pod.named_ports,
            )
        )


def to_pod(item: PodObject) -> Pod:
    """Return the agent's view of a pod object."""
    return Pod(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        uid=item.metadata.uid,
        node=item.spec.node_name,
        service_account=item.spec.service_account_name,
        labels=dict(item.metadata.labels),
        host_network=item.spec.host_network,
        phase=item.status.phase,
        addresses=_addresses(item),
        named_ports=tuple(
            (port.name, port.container_port, port.protocol)
            for container in item.spec.containers
            for port in container.ports
            if port.name
        ),
    )


def _addresses(item: PodObject) -> tuple[Address, ...]:
    """Return the pod's addresses; text that is none (an old API server's) is left out."""
    found: list[Address] = []
    for entry in item.status.pod_ips:
        try:
            found.append(parse_address("status.podIPs", entry.ip))
        except FieldError:
            continue
    return tuple(found)
