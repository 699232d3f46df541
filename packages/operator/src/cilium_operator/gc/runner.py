# SPDX-License-Identifier: Apache-2.0
"""One run of each garbage collection against the live cluster.

Runs list what they judge (metadata only where that is enough) and every deletion names the UID
that was judged, so that an object of the same name made meanwhile survives. Each run is one
task; runs of different kinds do not share state.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from cilium_core.crds.models import EndpointIdentity, ObjectMeta
from cilium_core.identity import HEARTBEAT_MARK
from cilium_operator.config import Settings
from cilium_operator.errors import ApiError
from cilium_operator.gc.identities import Action, Heartbeats, Times, decide, stamp
from cilium_operator.kube.client import ApiClient, Metadata
from cilium_operator.metrics import Metrics

log = structlog.get_logger("cilium_operator.gc")
CILIUM = "/apis/cilium.io/v2"
LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"


class _Status(msgspec.Struct):
    identity: EndpointIdentity | None = None


class _Endpoint(msgspec.Struct):
    """A CiliumEndpoint, of which only the identity counts here."""

    status: _Status = msgspec.field(default_factory=_Status)


class IdentityCollector:
    """Marks and deletes identities that no endpoint uses."""

    def __init__(self, client: ApiClient, settings: Settings, metrics: Metrics) -> None:
        """Nothing was seen in use yet."""
        self._client = client
        self._interval = settings.identity_gc_interval
        self._heartbeats = Heartbeats(settings.identity_heartbeat_timeout)
        self._metrics = metrics

    async def run(self) -> None:
        """Look once at all identities and endpoints and act."""
        started = time.monotonic()
        path = f"{CILIUM}/ciliumidentities"
        identities = [
            item.metadata async for item in self._client.items(path, Metadata, metadata_only=True)
        ]
        used = await self._in_use()
        now = Times(time.monotonic(), datetime.now(UTC))
        self._heartbeats.look((one.name for one in identities), used, now.monotonic)
        deleted = 0
        for identity in identities:
            action = decide(identity, identity.name in used, self._heartbeats, self._interval, now)
            deleted += await self._act(identity, action, now.wall)
        self._metrics.identities(
            alive=len(identities) - deleted, deleted=deleted, seconds=time.monotonic() - started
        )

    async def _in_use(self) -> set[str]:
        path = f"{CILIUM}/ciliumendpoints"
        return {
            str(endpoint.status.identity.id)
            async for endpoint in self._client.items(path, _Endpoint)
            if endpoint.status.identity is not None
        }

    async def _act(self, identity: ObjectMeta, action: Action, now: datetime) -> int:
        path = f"{CILIUM}/ciliumidentities/{identity.name}"
        try:
            if action is Action.DELETE:
                await self._client.delete(path, uid=identity.uid, version=identity.resource_version)
                log.info("deleted unused identity", identity=identity.name)
                return 1
            if action is not Action.KEEP:
                mark = stamp(now) if action is Action.MARK else None
                await self._client.patch(path, _annotate(identity.resource_version, mark))
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
        return 0


async def collect_endpoints(client: ApiClient, metrics: Metrics) -> None:
    """Delete CiliumEndpoints whose pod is gone, has ended or was replaced by a namesake.

    The endpoints are listed first and the pods afterwards, so that a pod
    that appears between the two is seen. An endpoint that names no pod as its owner goes by
    name alone.
    """
    deleted = 0
    endpoints = [
        item.metadata
        async for item in client.items(f"{CILIUM}/ciliumendpoints", Metadata, metadata_only=True)
    ]
    listed = client.items("/api/v1/pods", Metadata, fields=LIVE_PODS, metadata_only=True)
    pods = {(pod.metadata.namespace, pod.metadata.name): pod.metadata.uid async for pod in listed}
    for endpoint in endpoints:
        alive = pods.get((endpoint.namespace, endpoint.name))
        if alive is not None and _pod_uid(endpoint) in ("", alive):
            continue
        path = f"{CILIUM}/namespaces/{endpoint.namespace}/ciliumendpoints/{endpoint.name}"
        try:
            await client.delete(path, uid=endpoint.uid)
            deleted += 1
            log.info("deleted endpoint without pod", endpoint=f"{path}")
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
    metrics.endpoints(deleted)


async def delete_cilium_node(client: ApiClient, name: str, uid: str) -> bool:
    """Delete the CiliumNode of a Node that is gone. False when the Node is there after all."""
    if await client.exists(f"/api/v1/nodes/{name}"):
        return False
    try:
        await client.delete(f"{CILIUM}/ciliumnodes/{name}", uid=uid)
        log.info("deleted CiliumNode without Node", node=name)
    except ApiError as error:
        if not (error.not_found or error.conflict):
            raise
    return True


def _pod_uid(endpoint: ObjectMeta) -> str:
    owners = endpoint.owner_references
    return next((owner.uid for owner in owners if owner.kind == "Pod"), "")


def _annotate(version: str, mark: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": version, "annotations": {HEARTBEAT_MARK: mark}}
    return {"metadata": metadata}
