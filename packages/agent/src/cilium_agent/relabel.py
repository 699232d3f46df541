# SPDX-License-Identifier: Apache-2.0
"""Gives endpoints the identity of their pods' present labels when those change.

Handlers note pods; one worker looks each up and retries with backoff while the API server refuses
or is away, or the kernel has no room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

import aiohttp
import structlog

from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.objects import NamespaceObject, PodObject
from cilium_agent.k8s.pods import to_pod
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import Endpoint, Pod
from cilium_core.errors import CiliumError

log = structlog.get_logger(__name__)


class Relabels(Protocol):
    """Who owns the endpoints."""

    async def labels_changed(self, pod: Pod) -> None: ...

    def all(self) -> Iterable[Endpoint]: ...


class Relabeller:
    """Follows pods and namespaces; `run` is the worker."""

    def __init__(self, watches: Watches, endpoints: Relabels) -> None:
        """Call `attach` when endpoints are restored; pods there already are looked up then."""
        self._watches = watches
        self._endpoints = endpoints
        self._waiting: dict[tuple[str, str], Pod] = {}
        self._more = asyncio.Event()

    def attach(self) -> None:
        """Follow the informers."""
        self._watches.pods.on_change(self._pod)
        self._watches.namespaces.on_change(self._namespace)

    def renew(self, identity: int) -> None:
        """Have the endpoints of an identity look theirs up again: it stands for others now."""
        for endpoint in self._endpoints.all():
            item = self._watches.pods.get(endpoint.pod_namespace, endpoint.pod_name)
            mine = item is not None and item.metadata.uid == endpoint.pod_uid
            if item is not None and mine and endpoint.identity == identity:
                self._want(item)

    async def run(self) -> None:
        """Carry changes out until cancelled."""
        backoff = Backoff(limit=5.0)
        while True:
            await self._more.wait()
            self._more.clear()
            failed = False
            for key, pod in list(self._waiting.items()):
                failed |= not await self._carry_out(key, pod)
            if failed:
                await backoff.sleep()
                self._more.set()
            else:
                backoff.reset()

    async def _carry_out(self, key: tuple[str, str], pod: Pod) -> bool:
        try:
            await self._endpoints.labels_changed(pod)
        except Exception as error:
            expected = isinstance(error, CiliumError | aiohttp.ClientError | TimeoutError | OSError)
            log.warning(
                "identity not updated",
                pod="/".join(key),
                error=str(error) or repr(error),
                exc_info=None if expected else error,
            )
            return False
        if self._waiting.get(key) is pod:
            del self._waiting[key]
        return True

    def _pod(self, old: PodObject | None, new: PodObject | None) -> None:
        if new is None:
            if old is not None:
                self._waiting.pop((old.metadata.namespace, old.metadata.name), None)
        elif old is None or old.metadata.labels != new.metadata.labels:
            self._want(new)

    def _namespace(self, old: NamespaceObject | None, new: NamespaceObject | None) -> None:
        if old is None or new is None or old.metadata.labels == new.metadata.labels:
            return
        for (namespace, _), pod in self._watches.pods.items.items():
            if namespace == new.metadata.name:
                self._want(pod)

    def _want(self, item: PodObject) -> None:
        if not item.spec.host_network:
            self._waiting[item.metadata.namespace, item.metadata.name] = to_pod(item)
            self._more.set()
