# SPDX-License-Identifier: Apache-2.0
"""Objects behind the API client under the narrow interfaces that the logic asks for.

Also the recorder of Kubernetes Events. One event loop.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import structlog

from cilium_operator.errors import ApiError
from cilium_operator.ipam.controller import cidr_patch, error_patch
from cilium_operator.kube.client import ApiClient
from cilium_operator.kube.lease import LEASE_NAME, Lease
from cilium_operator.views import CiliumNodeView, cilium_node_view

API_VERSIONS = {
    "Node": "v1",
    "CiliumNode": "cilium.io/v2",
    "ServiceCIDR": "networking.k8s.io/v1",
}
log = structlog.get_logger("cilium_operator.events")


class ApiLeaseStore:
    """The leader's lease in a namespace."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        """Keep the paths."""
        self._client = client
        self._all = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    async def read(self) -> Lease:
        """Read the lease."""
        return await self._client.get(f"{self._all}/{LEASE_NAME}", Lease)

    async def create(self, body: dict[str, Any]) -> Lease:
        """Create it."""
        return msgspec.json.decode(await self._client.create(self._all, body), type=Lease)

    async def replace(self, body: dict[str, Any]) -> Lease:
        """Replace the version that the body names."""
        path = f"{self._all}/{LEASE_NAME}"
        return msgspec.json.decode(await self._client.replace(path, body), type=Lease)


class ApiNodeStore:
    """CiliumNode objects in the cluster."""

    def __init__(self, client: ApiClient) -> None:
        """Keep the client."""
        self._client = client
        self._all = "/apis/cilium.io/v2/ciliumnodes"

    async def read(self, name: str) -> CiliumNodeView | None:
        """Read one; None when it is not there."""
        body = await self._client.find(f"{self._all}/{name}", dict)
        return None if body is None else cilium_node_view(body)

    async def read_all(self) -> list[CiliumNodeView]:
        """Read them all, from the server's own state."""
        return [cilium_node_view(body) async for body in self._client.items(self._all, dict)]

    async def write_cidrs(self, name: str, version: str, cidrs: list[str]) -> CiliumNodeView:
        """Set spec.ipam.podCIDRs of this version of the object."""
        answer = await self._client.patch(f"{self._all}/{name}", cidr_patch(version, cidrs))
        return cilium_node_view(msgspec.json.decode(answer))

    async def write_error(self, name: str, version: str, error: str) -> CiliumNodeView:
        """Set or clear status.ipam.operator-status.error of this version of the object."""
        path = f"{self._all}/{name}/status"
        answer = await self._client.patch(path, error_patch(version, error))
        return cilium_node_view(msgspec.json.decode(answer))


class EventRecorder:
    """Writes Kubernetes Events about cluster-scoped objects, for `kubectl describe`."""

    def __init__(self, client: ApiClient, instance: str) -> None:
        """`instance` names this process."""
        self._client = client
        self._instance = instance

    async def warn(self, kind: str, name: str, uid: str, reason: str, message: str) -> None:
        """Record a warning. A failure to do so is logged and does not stop the work."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        version = API_VERSIONS[kind]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{uuid.uuid4().hex[:16]}", "namespace": "default"},
            "eventTime": now,
            "reportingController": "cilium.io/operator",
            "reportingInstance": self._instance,
            "action": "AllocatePodCIDR",
            "reason": reason,
            "type": "Warning",
            "note": message[:1024],
            "regarding": {"apiVersion": version, "kind": kind, "name": name, "uid": uid},
        }
        try:
            await self._client.create("/apis/events.k8s.io/v1/namespaces/default/events", body)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("event not recorded", reason=reason, error=str(error))
