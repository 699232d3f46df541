# SPDX-License-Identifier: Apache-2.0
"""CiliumEndpoint objects of this node's endpoints; implements `ports.EndpointObjects`.

Calls note the wish and return. One worker carries wishes out, newest per pod name first come,
and keeps a failed one with backoff. An object is touched only when its owner is the endpoint's
own pod: a namesake pod (a StatefulSet's successor) has its own object.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import msgspec
import structlog

from cilium_agent.errors import ApiError
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.model import Endpoint
from cilium_core.crds import models

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Wish:
    endpoint: Endpoint
    present: bool


class EndpointPublisher:
    """Publishes and withdraws CiliumEndpoints. `run` is the worker."""

    def __init__(self, client: ApiClient, node_address: str, encryption_key: int = 0) -> None:
        """`node_address` is how other nodes reach this one."""
        self._client = client
        self._node = node_address
        self._encryption = models.EncryptionSpec(key=encryption_key)
        self._wishes: dict[tuple[str, str], _Wish] = {}
        self._more = asyncio.Event()
        self.failures = 0

    def publish(self, endpoint: Endpoint) -> None:
        """Create or update the endpoint's object."""
        self._want(endpoint, present=True)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Delete the endpoint's object if it still is this endpoint's."""
        key = (endpoint.pod_namespace, endpoint.pod_name)
        waiting = self._wishes.get(key)
        if waiting and waiting.present and waiting.endpoint.pod_uid != endpoint.pod_uid:
            return  # a namesake is about to be published over it, which replaces the object
        self._want(endpoint, present=False)

    @property
    def pending(self) -> int:
        """How many wishes wait."""
        return len(self._wishes)

    async def run(self) -> None:
        """Carry wishes out until cancelled."""
        backoff = Backoff(limit=5.0)
        while True:
            await self._more.wait()
            self._more.clear()
            failed = False
            for key, wish in list(self._wishes.items()):
                if await self._carry_out(wish):
                    if self._wishes.get(key) is wish:
                        del self._wishes[key]
                else:
                    failed = True
            if failed:
                self._more.set()
                await backoff.sleep()
            else:
                backoff.reset()

    def _want(self, endpoint: Endpoint, *, present: bool) -> None:
        if endpoint.pod_name:
            self._wishes[endpoint.pod_namespace, endpoint.pod_name] = _Wish(endpoint, present)
            self._more.set()

    async def _carry_out(self, wish: _Wish) -> bool:
        act = self._put if wish.present else self._remove
        try:
            return await act(wish.endpoint)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            self.failures += 1
            log.warning(
                "CiliumEndpoint not written",
                pod=f"{wish.endpoint.pod_namespace}/{wish.endpoint.pod_name}",
                error=str(error) or repr(error),
            )
            return False

    async def _put(self, endpoint: Endpoint) -> bool:
        collection, path = _paths(endpoint)
        found = await self._client.find(path, models.CiliumEndpoint)
        wanted = endpoint_object(endpoint, self._node, self._encryption)
        if found is not None and owner_uid(found) != endpoint.pod_uid:
            await self._client.delete(path, found.metadata.uid)
            found = None
        if found is None:
            try:
                await self._client.create(collection, wanted, models.CiliumEndpoint)
            except ApiError as error:
                if error.not_found:
                    log.info("namespace is gone; CiliumEndpoint dropped", path=path)
                    return True
                if error.already_exists:
                    return False
                raise
            return True
        if found.status != wanted.status:
            status = msgspec.to_builtins(wanted.status)
            body = {"metadata": {"uid": found.metadata.uid}, "status": status}
            await self._client.patch(path, body)
        return True

    async def _remove(self, endpoint: Endpoint) -> bool:
        _, path = _paths(endpoint)
        found = await self._client.find(path, models.CiliumEndpoint)
        if found is not None and owner_uid(found) == endpoint.pod_uid:
            await self._client.delete(path, found.metadata.uid)
        return True


def owner_uid(item: models.CiliumEndpoint) -> str:
    """Return the uid of the pod that owns the object, empty when none does."""
    owners = item.metadata.owner_references
    return next((owner.uid for owner in owners if owner.kind == "Pod"), "")


def endpoint_object(
    endpoint: Endpoint, node: str, encryption: models.EncryptionSpec
) -> models.CiliumEndpoint:
    """Return the object that describes an endpoint. Pure."""
    pair = models.AddressPair(
        ipv4=str(endpoint.ipv4) if endpoint.ipv4 else "",
        ipv6=str(endpoint.ipv6) if endpoint.ipv6 else "",
    )
    full_name = f"{endpoint.pod_namespace}/{endpoint.pod_name}"
    disabled = models.PolicyDirection(enforcing=False, state="disabled")
    owner = models.OwnerReference(
        api_version="v1", kind="Pod", name=endpoint.pod_name, uid=endpoint.pod_uid
    )
    return models.CiliumEndpoint(
        metadata=models.ObjectMeta(
            name=endpoint.pod_name, namespace=endpoint.pod_namespace, owner_references=[owner]
        ),
        status=models.CiliumEndpointStatus(
            id=endpoint.endpoint_id,
            identity=models.EndpointIdentity(
                id=endpoint.identity,
                labels=[f"{key}={value}" for key, value in sorted(endpoint.labels.items())],
            ),
            networking=models.EndpointNetworking(addressing=[pair], node=node),
            policy=models.EndpointPolicy(ingress=disabled, egress=disabled),
            state=endpoint.state.value,
            encryption=encryption,
            external_identifiers=models.ExternalIdentifiers(
                cni_attachment_id=f"{endpoint.container_id}:{endpoint.interface}",
                container_id=endpoint.container_id,
                k8s_namespace=endpoint.pod_namespace,
                k8s_pod_name=endpoint.pod_name,
                pod_name=full_name,
            ),
        ),
    )


def _paths(endpoint: Endpoint) -> tuple[str, str]:
    collection = f"/apis/cilium.io/v2/namespaces/{endpoint.pod_namespace}/ciliumendpoints"
    return collection, f"{collection}/{endpoint.pod_name}"
