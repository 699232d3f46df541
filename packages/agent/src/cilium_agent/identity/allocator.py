# SPDX-License-Identifier: Apache-2.0
"""Cluster identities as CiliumIdentity objects: label set to number, and number to labels.

A number is drawn at random, so that two nodes seldom race for it, and never taken from an object
that exists, that is being deleted, or that went less than `QUARANTINE` seconds ago (other nodes
may still hold rows with it). When two objects carry one label set the lowest number serves.
An identity that local endpoints use and that vanishes is made again under its number. One task
per label set creates; all else is plain calls on the event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
import structlog

from cilium_agent.errors import ApiError, IdentitiesExhausted
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.informer import Informer
from cilium_core.crds.models import CiliumIdentity, ObjectMeta
from cilium_core.identity import MAX_CLUSTER_IDENTITY, MIN_CLUSTER_IDENTITY, canonical_key
from cilium_core.labels import NAMESPACE, LabelSet

log = structlog.get_logger(__name__)

PATH = "/apis/cilium.io/v2/ciliumidentities"
QUARANTINE = 600.0
ATTEMPTS = 8


class Creator(Protocol):
    """The part of the API client that the allocator uses."""

    async def create(
        self, path: str, body: object, kind: type[CiliumIdentity]
    ) -> CiliumIdentity: ...


class Allocator:
    """Implements `ports.Identities`. Give it the informer's changes through `observe`."""

    def __init__(self, client: Creator) -> None:
        """Start empty; `attach` to an informer before allocating.

        `in_use` (set by the owner) tells whether a local endpoint has an identity.
        """
        self._client = client
        self._labels: dict[int, LabelSet] = {}
        self._numbers: dict[str, set[int]] = {}
        self._dying: set[int] = set()
        self._gone: dict[int, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.in_use: Callable[[int], bool] = lambda _number: False
        self._repairs: set[asyncio.Task[None]] = set()
        self._synced: asyncio.Event | None = None

    def attach(self, informer: Informer[CiliumIdentity]) -> None:
        """Follow the informer; `allocate` waits for its first list."""
        self._synced = informer.synced
        informer.on_change(self.observe)

    def observe(self, old: CiliumIdentity | None, new: CiliumIdentity | None) -> None:
        """Take one change of the collection in."""
        item = new or old
        if item is None or not item.metadata.name.isdecimal():
            return
        number = int(item.metadata.name)
        self._forget(number)
        if new is None:
            self._gone[number] = time.monotonic()
            if old is not None and self.in_use(number):
                self._repair(number, old.security_labels)
            return
        self._remember(number, new.security_labels)
        if new.metadata.deletion_timestamp:
            self._dying.add(number)

    async def allocate(self, labels: LabelSet) -> int:
        """Return the number of the label set, creating the object when there is none.

        ApiError when the server refuses, aiohttp.ClientError or TimeoutError when it is away,
        IdentitiesExhausted when no number is free.
        """
        if self._synced is not None:
            await self._synced.wait()
        key = canonical_key(labels)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            known = self._lowest(key)
            return known if known is not None else await self._create(labels)

    def labels_of(self, number: int) -> LabelSet | None:
        """Return the labels of a cluster identity, None when it is not known."""
        return self._labels.get(number)

    def known(self) -> Mapping[int, LabelSet]:
        """Return every cluster identity."""
        return self._labels

    def _lowest(self, key: str) -> int | None:
        return min(self._numbers.get(key, set()) - self._dying, default=None)

    async def _create(self, labels: LabelSet) -> int:
        for _ in range(ATTEMPTS):
            number = self._draw()
            try:
                made = await self._client.create(PATH, _object(number, labels), CiliumIdentity)
            except ApiError as error:
                if not error.already_exists:
                    raise
                self._gone[number] = time.monotonic()
                continue
            self._remember(number, made.security_labels)
            log.info("identity created", identity=number, labels=labels)
            return number
        raise IdentitiesExhausted(f"no identity number was free in {ATTEMPTS} attempts")

    def _draw(self) -> int:
        now = time.monotonic()
        self._gone = {n: at for n, at in self._gone.items() if now - at < QUARANTINE}
        taken = self._labels.keys() | self._gone.keys()
        span = MAX_CLUSTER_IDENTITY - MIN_CLUSTER_IDENTITY + 1
        if len(taken) >= span:
            raise IdentitiesExhausted(
                f"all {span} cluster identities are in use; fewer labels should count for "
                "identity (setting `labels`)"
            )
        while True:
            number = random.randint(MIN_CLUSTER_IDENTITY, MAX_CLUSTER_IDENTITY)
            if number not in taken:
                return number

    def _remember(self, number: int, labels: LabelSet) -> None:
        self._gone.pop(number, None)
        self._labels[number] = dict(labels)
        self._numbers.setdefault(canonical_key(labels), set()).add(number)

    def _forget(self, number: int) -> None:
        labels = self._labels.pop(number, None)
        self._dying.discard(number)
        if labels is None:
            return
        key = canonical_key(labels)
        self._numbers[key].discard(number)
        if not self._numbers[key]:
            del self._numbers[key]
            lock = self._locks.get(key)
            if lock is not None and not lock.locked():
                del self._locks[key]

    def _repair(self, number: int, labels: LabelSet) -> None:
        task = asyncio.ensure_future(self._recreate(number, dict(labels)))
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    async def _recreate(self, number: int, labels: LabelSet) -> None:
        log.warning("identity in use was deleted; creating it again", identity=number)
        backoff = Backoff()
        while self.in_use(number) and number not in self._labels:
            try:
                await self._client.create(PATH, _object(number, labels), CiliumIdentity)
                return
            except ApiError as error:
                if error.already_exists:
                    return
                log.warning("identity not created", identity=number, error=str(error))
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("identity not created", identity=number, error=repr(error))
            await backoff.sleep()


def _object(number: int, labels: LabelSet) -> CiliumIdentity:
    namespace = labels.get(f"k8s:{NAMESPACE}", "")
    meta = ObjectMeta(name=str(number), labels={NAMESPACE: namespace} if namespace else {})
    return CiliumIdentity(metadata=meta, security_labels=dict(labels))
