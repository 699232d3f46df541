# SPDX-License-Identifier: Apache-2.0
"""CiliumEndpoint objects of this node's endpoints; implements `ports.EndpointObjects`.

Calls note the wish and return. One worker carries wishes out, newest per pod name first come,
and keeps a failed one with backoff. An object is touched only when its owner is the endpoint's
own pod: a namesake pod (a StatefulSet's successor) has its own object; and it is deleted only
when it still describes that very endpoint: a pod's new sandbox has another.

Other nodes reach a pod by its object, and the operator takes an identity without one for unused.
So one that somebody deleted or changed is put right, as long as its pod lives: a pod that is gone
or has ended belongs to others, who may have deleted its object for that.

An object that says of a pod that it is on this node, without an endpoint here, is a leftover (of
an earlier installation, say): it claims a network that the pod has not, and goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
import msgspec
import structlog

from cilium_agent.errors import ApiError
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import PodObject
from cilium_agent.k8s.patches import merge_patch
from cilium_agent.model import Endpoint
from cilium_core.crds import models

log = structlog.get_logger(__name__)

# The shortest time between two repairs of one object: somebody else may be writing it too.
REPAIR_SECONDS = 5.0
ENDED = ("Succeeded", "Failed")
FAILURES = (ApiError, aiohttp.ClientError, TimeoutError, msgspec.DecodeError)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Wish:
    endpoint: Endpoint
    present: bool
    repair: bool = False


class EndpointPublisher:
    """Publishes and withdraws CiliumEndpoints. `run` is the worker."""

    def __init__(self, client: ApiClient, node_address: str, encryption_key: int = 0) -> None:
        """`node_address` is how other nodes reach this one."""
        self._client = client
        self._node = node_address
        self._encryption = models.EncryptionSpec(key=encryption_key)
        self._wishes: dict[Key, _Wish] = {}
        self._leftovers: dict[Key, str] = {}  # the object's uid
        self._published: dict[Key, Endpoint] = {}
        self._repaired: dict[Key, float] = {}
        self._suspect: set[Key] = set()
        self._more = asyncio.Event()
        self.failures = 0
        self.repairs = 0

    def attach(self, informer: Informer[models.CiliumEndpoint]) -> None:
        """Follow the objects, to put those of this node's endpoints right."""
        informer.on_change(self._observe)

    def publish(self, endpoint: Endpoint) -> None:
        """Create or update the endpoint's object."""
        key = _key(endpoint)
        self._published[key] = endpoint
        self._leftovers.pop(key, None)
        self._want(key, _Wish(endpoint, present=True))

    def withdraw_leftovers(
        self, items: Iterable[models.CiliumEndpoint], endpoints: Iterable[Endpoint]
    ) -> None:
        """Delete those objects that name this node and describe none of its endpoints.

        For the start, when all endpoints are restored: one that comes later is published, and
        that overrides this.
        """
        held = list(endpoints)
        keys = {_key(endpoint) for endpoint in held} | self._published.keys()
        addresses = {str(a) for endpoint in held for a in (endpoint.ipv4, endpoint.ipv6) if a}
        for item in items:
            key = (item.metadata.namespace, item.metadata.name)
            # A rebuilt endpoint may not know its pod yet: its address tells then.
            if self._is_here(item) and key not in keys and not addresses & _addresses(item):
                self._leftovers[key] = item.metadata.uid
                self._more.set()

    def withdraw(self, endpoint: Endpoint) -> None:
        """Delete the endpoint's object if it still is this endpoint's."""
        key = _key(endpoint)
        held = self._published.get(key)
        if held is not None:
            if not _same(held, endpoint):
                return  # the object is another endpoint's of that name, or is about to be
            del self._published[key]
            self._repaired.pop(key, None)
        self._want(key, _Wish(endpoint, present=False))

    @property
    def pending(self) -> int:
        """How many wishes wait."""
        return len(self._wishes) + len(self._leftovers)

    async def run(self) -> None:
        """Carry wishes out until cancelled."""
        backoff = Backoff(limit=5.0)
        while True:
            await self._more.wait()
            self._more.clear()
            failed = False
            for key, wish in list(self._wishes.items()):
                if not await self._carry_out(wish):
                    failed = True
                elif self._wishes.get(key) is wish:
                    del self._wishes[key]
                    self._look_again(key)
            for key, uid in list(self._leftovers.items()):
                if not await self._remove_leftover(key, uid):
                    failed = True
                elif self._leftovers.get(key) == uid:
                    del self._leftovers[key]
            if failed:
                self._more.set()
                await backoff.sleep()
            else:
                backoff.reset()

    def _want(self, key: Key, wish: _Wish) -> None:
        if wish.endpoint.pod_name:
            self._wishes[key] = wish
            self._more.set()

    def _observe(
        self, old: models.CiliumEndpoint | None, new: models.CiliumEndpoint | None
    ) -> None:
        item = new or old
        if item is None:
            return
        key = (item.metadata.namespace, item.metadata.name)
        endpoint = self._published.get(key)
        if endpoint is None or self._is_right(new, endpoint):
            return
        if key in self._wishes:
            if new is None:  # before or after what is being written?
                self._suspect.add(key)
            return
        wait = self._repaired.get(key, float("-inf")) + REPAIR_SECONDS - time.monotonic()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._repair, key)
        else:
            self._repair(key)

    def _look_again(self, key: Key) -> None:
        if key in self._suspect:
            self._suspect.discard(key)
            self._repair(key)

    def _repair(self, key: Key) -> None:
        endpoint = self._published.get(key)
        if endpoint is not None and key not in self._wishes:
            self._repaired[key] = time.monotonic()
            self._want(key, _Wish(endpoint, present=True, repair=True))

    def _is_right(self, item: models.CiliumEndpoint | None, endpoint: Endpoint) -> bool:
        if item is None or owner_uid(item) != endpoint.pod_uid:
            return False
        return item.status == endpoint_object(endpoint, self._node, self._encryption).status

    async def _carry_out(self, wish: _Wish) -> bool:
        try:
            if not wish.present:
                return await self._remove(wish.endpoint)
            if wish.repair and not await self._lives(wish.endpoint):
                return True
            return await self._put(wish.endpoint, repair=wish.repair)
        except FAILURES as error:
            return self._failed(_key(wish.endpoint), error)

    def _failed(self, key: Key, error: Exception) -> bool:
        self.failures += 1
        log.warning(
            "CiliumEndpoint not written", pod="/".join(key), error=str(error) or repr(error)
        )
        return False

    async def _lives(self, endpoint: Endpoint) -> bool:
        """Ask the API server whether the endpoint's pod is there and has not ended."""
        path = f"/api/v1/namespaces/{endpoint.pod_namespace}/pods/{endpoint.pod_name}"
        pod = await self._client.find(path, PodObject)
        if pod is None or pod.metadata.uid != endpoint.pod_uid:
            return False
        return pod.status.phase not in ENDED

    async def _put(self, endpoint: Endpoint, *, repair: bool) -> bool:
        collection, path = _paths(endpoint)
        found = await self._client.find(path, models.CiliumEndpoint)
        wanted = endpoint_object(endpoint, self._node, self._encryption)
        if found is not None and owner_uid(found) != endpoint.pod_uid:
            await self._client.delete(path, found.metadata.uid)
            found = None
        held = msgspec.to_builtins(found.status) if found is not None else {}
        change = merge_patch(held, msgspec.to_builtins(wanted.status))
        if repair and (found is None or change):
            self.repairs += 1
            log.warning("CiliumEndpoint was gone or changed; put right", path=path)
        if found is None:
            return await self._create(collection, path, wanted)
        if change:
            body = {"metadata": {"uid": found.metadata.uid}, "status": change}
            await self._client.patch(path, body)
        return True

    async def _create(self, collection: str, path: str, wanted: models.CiliumEndpoint) -> bool:
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

    async def _remove(self, endpoint: Endpoint) -> bool:
        _, path = _paths(endpoint)
        found = await self._client.find(path, models.CiliumEndpoint)
        if found is not None and _describes(found, endpoint):
            await self._client.delete(path, found.metadata.uid)
        return True

    async def _remove_leftover(self, key: Key, uid: str) -> bool:
        """Delete an object that is still what was seen: the same one, and of this node."""
        namespace, name = key
        path = f"/apis/cilium.io/v2/namespaces/{namespace}/ciliumendpoints/{name}"
        try:
            found = await self._client.find(path, models.CiliumEndpoint)
            stays = found is None or found.metadata.uid != uid or not self._is_here(found)
            if stays or key in self._published:
                return True
            await self._client.delete(path, uid)
        except FAILURES as error:
            return self._failed(key, error)
        log.info("CiliumEndpoint of a pod without an endpoint here; deleted", pod="/".join(key))
        return True

    def _is_here(self, item: models.CiliumEndpoint) -> bool:
        networking = item.status.networking
        return networking is not None and networking.node == self._node


def owner_uid(item: models.CiliumEndpoint) -> str:
    """Return the uid of the pod that owns the object, empty when none does."""
    owners = item.metadata.owner_references
    return next((owner.uid for owner in owners if owner.kind == "Pod"), "")


def _key(endpoint: Endpoint) -> Key:
    return endpoint.pod_namespace, endpoint.pod_name


def _addresses(item: models.CiliumEndpoint) -> set[str]:
    networking = item.status.networking
    pairs = networking.addressing if networking is not None else []
    return {text for pair in pairs for text in (pair.ipv4, pair.ipv6) if text}


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Tell whether both are one attachment: one pod may have a new one before the old is gone."""
    mine = (one.pod_uid, one.endpoint_id, one.host_interface)
    return mine == (other.pod_uid, other.endpoint_id, other.host_interface)


def _describes(item: models.CiliumEndpoint, endpoint: Endpoint) -> bool:
    """Tell whether an object is this endpoint's: its pod, its number, its container.

    The container is not known of an endpoint that was rebuilt from the kernel.
    """
    identifiers = item.status.external_identifiers
    container = identifiers.container_id if identifiers is not None else ""
    if container and endpoint.container_id and container != endpoint.container_id:
        return False
    return (owner_uid(item), item.status.id) == (endpoint.pod_uid, endpoint.endpoint_id)


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
