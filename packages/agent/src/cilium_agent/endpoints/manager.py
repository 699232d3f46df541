# SPDX-License-Identifier: Apache-2.0
"""Makes, changes and removes this node's endpoints; the one owner of the endpoint table.

One attachment is worked on by one call at a time; different ones run side by side. An endpoint's
row is written before its link is made and removed after everything else is gone, so a kill at any
point leaves a row that `restore` can undo. Rollback and removal are the same steps, and each step
is harmless when there is nothing to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from cilium_agent.endpoints.attachment import Attachment, host_interface
from cilium_agent.endpoints.errors import AttachRefused, NoSuchEndpoint
from cilium_agent.endpoints.links import PodLinks
from cilium_agent.endpoints.table import EndpointTable
from cilium_agent.ipam.pool import NodePool
from cilium_agent.model import Endpoint, EndpointState, Pod
from cilium_agent.ports import (
    EndpointDatapath,
    EndpointObjects,
    EndpointPolicy,
    Identities,
    Pods,
)
from cilium_agent.storage.store import EndpointStore
from cilium_core.labels import LabelSet

log = structlog.get_logger(__name__)
NO_MAC = bytes(6)


def _no_step(_name: str) -> None:
    return None


class EndpointManager:
    """The node's endpoints over the ports that make them real."""

    def __init__(
        self,
        *,
        node_name: str,
        store: EndpointStore,
        pool: NodePool,
        links: PodLinks,
        pods: Pods,
        identities: Identities,
        objects: EndpointObjects,
        datapath: EndpointDatapath,
        policy: EndpointPolicy,
        step: Callable[[str], None] = _no_step,
    ) -> None:
        """Use these parts; `step` is told the name of each step of `create` before it is taken."""
        self.node_name = node_name
        self.store = store
        self.pool = pool
        self.links = links
        self.pods = pods
        self.identities = identities
        self.objects = objects
        self.datapath = datapath
        self.policy = policy
        self.table = EndpointTable()
        self._step = step

    def all(self) -> list[Endpoint]:
        """Return all endpoints by id, those being made or removed included."""
        return self.table.all()

    def get(self, endpoint_id: int) -> Endpoint:
        """Return one endpoint. NoSuchEndpoint when the id is not in use."""
        return self.table.get(endpoint_id)

    def find(self, container_id: str, interface: str) -> Endpoint:
        """Return the endpoint of an attachment. NoSuchEndpoint when there is none."""
        found = self.table.find(host_interface(container_id, interface))
        if found is None:
            raise NoSuchEndpoint(
                f"no endpoint on this node for container {container_id} {interface}"
            )
        return found

    async def create(self, attachment: Attachment) -> Endpoint:
        """Attach a pod and return its endpoint once the kernel has all of it.

        Whatever fails, a cancellation included, nothing is left. AttachRefused names the field
        of the request that cannot be; PodGone, PoolExhausted, LinkError and what the ports raise.
        """
        name = host_interface(attachment.container_id, attachment.interface)
        async with self.table.lock(name):
            await self._remove(name)  # a repeated ADD whose first answer was lost
            pod = await self._pod(attachment)
            endpoint = self._reserve(attachment, pod, name)
            try:
                return await self._build(endpoint, pod)
            except BaseException as error:
                log.warning("endpoint undone", **_names(endpoint), error=str(error) or repr(error))
                await self._undo(name)
                raise

    async def delete(self, container_id: str, interface: str) -> None:
        """Remove an attachment and all that belongs to it; unknown is not an error."""
        name = host_interface(container_id, interface)
        async with self.table.lock(name):
            if self.table.find(name) is None:
                await self.links.remove(name)
            await self._remove(name)

    async def check(self, container_id: str, interface: str) -> tuple[Endpoint, list[str]]:
        """Return the endpoint and what is wrong with it. NoSuchEndpoint when there is none."""
        endpoint = self.find(container_id, interface)
        problems = await self.links.problems(endpoint)
        if endpoint.state is not EndpointState.READY:
            problems.append(f"endpoint {endpoint.endpoint_id} is {endpoint.state}")
        return endpoint, problems

    async def retain(self, valid: set[tuple[str, str]]) -> list[Endpoint]:
        """Remove the endpoints of all attachments but these (container id, interface)."""
        kept = {host_interface(container_id, interface) for container_id, interface in valid}
        removed = []
        for endpoint in self.all():
            if endpoint.host_interface in kept or endpoint.state is EndpointState.CREATING:
                continue
            async with self.table.lock(endpoint.host_interface):
                await self._remove(endpoint.host_interface)
            removed.append(endpoint)
        return removed

    async def labels_changed(self, pod: Pod) -> None:
        """Give the pod's endpoints the identity of the pod's present labels."""
        for endpoint in self.all():
            if endpoint.pod_uid == pod.uid:
                await self._relabel(endpoint.host_interface, pod)

    async def discard(self, endpoint: Endpoint) -> None:
        """Remove an endpoint that is known from the file or the kernel only (see `restore`)."""
        async with self.table.lock(endpoint.host_interface):
            self.table.put(endpoint)
            await self._remove(endpoint.host_interface)

    async def _pod(self, attachment: Attachment) -> Pod:
        pod = await self.pods.get(attachment.pod_namespace, attachment.pod_name, attachment.pod_uid)
        label = f"{pod.namespace}/{pod.name}"
        if pod.node != self.node_name:
            raise AttachRefused("K8S_POD_NAME", f"{label} is bound to node {pod.node or '(none)'}")
        if pod.host_network:
            raise AttachRefused("K8S_POD_NAME", f"{label} uses the host's network")
        return pod

    def _reserve(self, attachment: Attachment, pod: Pod, name: str) -> Endpoint:
        endpoint_id = self.table.new_id()
        ipv4, ipv6 = self.pool.allocate(name)
        endpoint = Endpoint(
            endpoint_id=endpoint_id,
            container_id=attachment.container_id,
            interface=attachment.interface,
            netns=attachment.netns,
            pod_namespace=pod.namespace,
            pod_name=pod.name,
            pod_uid=pod.uid,
            ipv4=ipv4,
            ipv6=ipv6,
            host_interface=name,
            host_ifindex=0,
            mac=NO_MAC,
            node_mac=NO_MAC,
        )
        self.table.put(endpoint)
        return endpoint

    async def _build(self, endpoint: Endpoint, pod: Pod) -> Endpoint:
        identity = asyncio.create_task(self._identity(pod))
        try:
            self._step("row")
            await self.store.put(endpoint)
            self._step("link")
            made = await self.links.create(endpoint)
            endpoint = replace(
                endpoint,
                host_ifindex=made.host_ifindex,
                mac=made.mac,
                node_mac=made.node_mac,
                state=EndpointState.WAITING_FOR_IDENTITY,
            )
            self.table.put(endpoint)
            self._step("attach")
            await self.datapath.attach(endpoint)
            self._step("configure")
            await self.links.configure(endpoint)
            self._step("identity")
            labels, number = await identity
        finally:
            identity.cancel()
            if identity.done() and not identity.cancelled():
                identity.exception()  # seen: another step's error is the one that is told
        endpoint = replace(
            endpoint, labels=labels, identity=number, state=EndpointState.REGENERATING
        )
        self.table.put(endpoint)
        self._step("policy")
        self.policy.prepare(endpoint.endpoint_id, number, labels)
        self._step("upsert")
        await self.datapath.upsert(endpoint)
        self.policy.settled(endpoint.endpoint_id)
        self._step("recheck")
        await self.pods.get(pod.namespace, pod.name, pod.uid)  # PodGone: deleted meanwhile
        endpoint = replace(endpoint, state=EndpointState.READY)
        self._step("ready")
        await self.store.put(endpoint)
        self.table.put(endpoint)
        self.objects.publish(endpoint)
        log.info("endpoint ready", **_names(endpoint), identity=endpoint.identity)
        return endpoint

    async def _identity(self, pod: Pod) -> tuple[LabelSet, int]:
        labels = await self.pods.security_labels(pod)
        return labels, await self.identities.allocate(labels)

    async def _relabel(self, name: str, pod: Pod) -> None:
        async with self.table.lock(name):
            endpoint = self.table.find(name)
            if endpoint is None or endpoint.state is not EndpointState.READY:
                return
            labels, number = await self._identity(pod)
            if (labels, number) == (endpoint.labels, endpoint.identity):
                return
            changed = replace(
                endpoint,
                labels=labels,
                identity=number,
                pod_namespace=pod.namespace,  # a rebuilt endpoint may know no more than the uid
                pod_name=pod.name,
            )
            self.table.put(replace(changed, state=EndpointState.REGENERATING))
            try:
                self.policy.prepare(changed.endpoint_id, number, labels)
                await self.datapath.upsert(changed)
                await self.store.put(changed)
            except BaseException:
                self.table.put(endpoint)  # the next event about the pod tries again
                raise
            self.policy.settled(changed.endpoint_id)
            self.table.put(changed)
            self.objects.publish(changed)
            log.info("identity changed", **_names(changed), old=endpoint.identity, new=number)

    async def _undo(self, name: str) -> None:
        try:
            await self._remove(name)
        except Exception as error:  # the row stays: the runtime's DEL or a restart finishes it
            log.error("endpoint not fully undone", interface=name, error=str(error))

    async def _remove(self, name: str) -> None:
        """Take an endpoint down; the caller holds its lock. A step that fails keeps the row."""
        endpoint = self.table.find(name)
        if endpoint is None:
            return
        endpoint = replace(endpoint, state=EndpointState.DISCONNECTING)
        self.table.put(endpoint)
        await self.store.put(endpoint)
        await self.datapath.delete(endpoint)
        self.policy.forget(endpoint.endpoint_id)
        await self.links.remove(name, endpoint.host_ifindex)
        await self.datapath.detach(endpoint)  # not before: the stack would take what still comes
        self.objects.withdraw(endpoint)
        await self.store.delete(name)
        self.pool.release(name)
        self.table.remove(endpoint)
        log.info("endpoint removed", **_names(endpoint))


def _names(endpoint: Endpoint) -> dict[str, object]:
    return {
        "endpoint": endpoint.endpoint_id,
        "pod": f"{endpoint.pod_namespace}/{endpoint.pod_name}",
    }
