# SPDX-License-Identifier: Apache-2.0
"""Leader election by a coordination.k8s.io Lease, so that two replicas never act at once.

A holder that cannot renew within `renew_deadline` gives up and its process ends, before the
others may take the lease after `lease_duration` of silence on their own clocks (the times in
the object are for people; only whether it changed counts). One task on the loop.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import msgspec
import structlog

from cilium_core.crds.models import ObjectMeta
from cilium_operator.errors import ApiError, LeadershipLost

LEASE_NAME = "cilium-operator-resource-lock"
log = structlog.get_logger("cilium_operator.lease")


class LeaseSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """spec of a Lease."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class Lease(msgspec.Struct, rename="camel"):
    """A Lease, as far as it is used."""

    metadata: ObjectMeta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


class LeaseStore(Protocol):
    """Where the lease is kept. ApiError 404 and 409 as the API server answers."""

    async def read(self) -> Lease: ...

    async def create(self, body: dict[str, Any]) -> Lease: ...

    async def replace(self, body: dict[str, Any]) -> Lease: ...


class LeaseTimes(msgspec.Struct, frozen=True):
    """Seconds: how long a lease lasts, how long a holder tries, how often it asks."""

    duration: float
    renew_deadline: float
    retry: float


class Elector:
    """Takes the lease, keeps it, gives it back."""

    def __init__(self, store: LeaseStore, namespace: str, identity: str, times: LeaseTimes) -> None:
        """`identity` must be unique to this process."""
        self._store = store
        self._namespace = namespace
        self._identity = identity
        self._times = times
        self._seen: tuple[str, float] = ("", 0.0)

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._times.retry)
        log.info("became leader", identity=self._identity)

    async def keep(self) -> None:
        """Renew until cancelled. LeadershipLost when it could not be done in time."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._times.retry)
            remaining = renewed + self._times.renew_deadline - time.monotonic()
            if remaining <= 0:
                raise LeadershipLost(
                    f"lease {LEASE_NAME} was not renewed for {self._times.renew_deadline:g} s"
                )
            started = time.monotonic()
            try:
                async with asyncio.timeout(remaining):
                    if await self._attempt():
                        renewed = started
            except TimeoutError:
                continue

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait for its end."""
        try:
            current = await self._store.read()
            if current.spec.holder_identity == self._identity:
                empty = LeaseSpec(
                    lease_duration_seconds=1, lease_transitions=current.spec.lease_transitions
                )
                await self._store.replace(self._body(empty, current.metadata.resource_version))
                log.info("gave the lease back", identity=self._identity)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("could not give the lease back", error=str(error))

    async def _attempt(self) -> bool:
        try:
            return await self._try()
        except ApiError as error:
            if not error.conflict:
                log.warning("lease request refused", error=str(error))
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("no API server answered", error=str(error))
        return False

    async def _try(self) -> bool:
        try:
            lease = await self._store.read()
        except ApiError as error:
            if not error.not_found:
                raise
            await self._store.create(self._body(self._held(LeaseSpec()), ""))
            return True
        if not self._may_take(lease):
            return False
        held = self._held(lease.spec)
        await self._store.replace(self._body(held, lease.metadata.resource_version))
        return True

    def _may_take(self, lease: Lease) -> bool:
        if lease.spec.holder_identity in ("", self._identity):
            return True
        now = time.monotonic()
        if lease.metadata.resource_version != self._seen[0]:
            self._seen = (lease.metadata.resource_version, now)
        silence = max(self._times.duration, float(lease.spec.lease_duration_seconds))
        return now - self._seen[1] >= silence

    def _held(self, before: LeaseSpec) -> LeaseSpec:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        mine = before.holder_identity == self._identity
        return LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=max(1, round(self._times.duration)),
            acquire_time=before.acquire_time if mine and before.acquire_time else now,
            renew_time=now,
            lease_transitions=before.lease_transitions + (0 if mine else 1),
        )

    def _body(self, spec: LeaseSpec, version: str) -> dict[str, Any]:
        metadata = {"name": LEASE_NAME, "namespace": self._namespace}
        if version:
            metadata["resourceVersion"] = version
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": msgspec.to_builtins(spec),
        }
