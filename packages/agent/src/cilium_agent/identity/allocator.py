# SPDX-License-Identifier: Apache-2.0
"""Cluster identities as CiliumIdentity objects: label set to number, and number to labels.

A number is drawn at random, so that two nodes seldom race for it, and never taken from an object
that exists, that is being deleted, or that went less than ten minutes ago (other nodes may still
hold rows with it). When two objects carry one label set the lowest number serves.

The operator marks an identity that no CiliumEndpoint uses, and deletes what stays marked. The mark
is removed before a number is handed out, and from every identity in use here. In use is what local
endpoints have, and what was handed out a moment ago: its endpoint is still being made. One that
vanishes all the same is made again under its number; when other labels have the number by then,
`lost` is told, so that its endpoints ask again. One task per label set creates; all else is plain
calls on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import msgspec
import structlog

from cilium_agent.errors import ApiError, IdentitiesExhausted
from cilium_agent.identity.index import IdentityIndex, number_of
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.informer import Informer
from cilium_core.crds.models import CiliumIdentity, ObjectMeta
from cilium_core.identity import HEARTBEAT_MARK, canonical_key, is_cluster_identity
from cilium_core.labels import NAMESPACE, LabelSet

log = structlog.get_logger(__name__)

PATH = "/apis/cilium.io/v2/ciliumidentities"
ATTEMPTS = 8
# How long after its hand-out a number counts as used: a runtime gives up on a CNI ADD before.
IN_FLIGHT = 300.0
RETELL_SECONDS = 2.0
_REFUSED = (ApiError, aiohttp.ClientError, TimeoutError, msgspec.DecodeError)


class Client(Protocol):
    """The part of the API client that the allocator uses."""

    async def create(
        self, path: str, body: object, kind: type[CiliumIdentity]
    ) -> CiliumIdentity: ...

    async def find(self, path: str, kind: type[CiliumIdentity]) -> CiliumIdentity | None: ...

    async def patch(self, path: str, body: object) -> bytes: ...


class Allocator:
    """Implements `ports.Identities`. Give it the informer's changes through `observe`."""

    def __init__(self, client: Client) -> None:
        """Start empty; `attach` to an informer before allocating.

        `in_use` (set by the owner) tells whether a local endpoint has an identity; `lost` (set by
        the owner) is told of a number that stands for other labels now.
        """
        self._client = client
        self._index = IdentityIndex()
        self._locks: dict[str, asyncio.Lock] = {}
        self._asking: Counter[str] = Counter()
        self._handed: dict[int, float] = {}
        self._retold: dict[int, float] = {}  # until when `lost` is told of a number
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._synced: asyncio.Event | None = None
        self.in_use: Callable[[int], bool] = lambda _number: False
        self.lost: Callable[[int], None] = lambda _number: None

    def attach(self, informer: Informer[CiliumIdentity]) -> None:
        """Follow the informer; `allocate` waits for its first list."""
        self._synced = informer.synced
        informer.on_change(self.observe)

    def observe(self, old: CiliumIdentity | None, new: CiliumIdentity | None) -> None:
        """Take one change of the collection in."""
        item = new or old
        number = number_of(item) if item is not None else None
        if item is None or number is None:
            if new is not None:
                log.warning("not a cluster identity, left out", name=new.metadata.name)
            return
        if new is not None:
            self._take_in(number, new)
            return
        self._index.drop(number)
        if old is not None and self._used(number):
            labels = dict(old.security_labels)
            job = f"repair {number} {canonical_key(labels)}"
            self._start(job, self._recreate(number, labels))

    async def allocate(self, labels: LabelSet) -> int:
        """Return the number of the label set, creating the object when there is none.

        ApiError when the server refuses, aiohttp.ClientError or TimeoutError when it is away,
        IdentitiesExhausted when no number is free.
        """
        if self._synced is not None:
            await self._synced.wait()
        key = canonical_key(labels)
        async with self._alone(key):
            number = await self._find_or_create(key, labels)
            self._handed[number] = time.monotonic()
            return number

    async def reclaim(self, held: Mapping[int, LabelSet]) -> None:
        """Make identities of an earlier run again that went while no agent looked.

        `held` are those of this node's endpoints, to be told once the first list is in and before
        anything is allocated: labels that have another number by now keep that. What the server
        refuses is logged; its endpoints are given another number like any whose labels change.
        """
        for number, labels in held.items():
            known = number in self._index.labels or self._index.lowest(canonical_key(labels))
            if labels and is_cluster_identity(number) and not known:
                log.warning("identity in use is gone; creating it again", identity=number)
                await self._make_again(number, labels)

    def labels_of(self, number: int) -> LabelSet | None:
        """Return the labels of a cluster identity, None when it is not known."""
        return self._index.labels.get(number)

    def known(self) -> Mapping[int, LabelSet]:
        """Return every cluster identity."""
        return self._index.labels

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """Be the only one who may create an object of this label set."""
        self._asking[key] += 1
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._asking[key] -= 1
            if not self._asking[key]:
                del self._asking[key], self._locks[key]

    async def _find_or_create(self, key: str, labels: LabelSet) -> int:
        for _ in range(ATTEMPTS):
            known = self._index.lowest(key)
            if known is None:
                return await self._create(labels)
            if self._index.marked(known):
                await self._unmark(known)
            if self._index.serves(known, key):
                return known
        raise IdentitiesExhausted(f"identities of {key} come and go, {ATTEMPTS} attempts failed")

    async def _create(self, labels: LabelSet) -> int:
        for _ in range(ATTEMPTS):
            number = self._index.draw()
            try:
                made = await self._client.create(PATH, _object(number, labels), CiliumIdentity)
            except ApiError as error:
                if not error.already_exists:
                    raise
                self._index.avoid(number)
                continue
            self._index.put(number, made)
            log.info("identity created", identity=number, labels=labels)
            return number
        raise IdentitiesExhausted(f"no identity number was free in {ATTEMPTS} attempts")

    async def _unmark(self, number: int) -> None:
        """Take the mark off and the object's present state in; it may be gone or another's."""
        change = {"metadata": {"annotations": {HEARTBEAT_MARK: None}}}
        try:
            raw = await self._client.patch(f"{PATH}/{number}", change)
        except ApiError as error:
            if not error.not_found:
                raise
            self._index.drop(number)
        else:
            self._take_in(number, msgspec.json.decode(raw, type=CiliumIdentity))
            log.info("identity is used again", identity=number)

    def _take_in(self, number: int, item: CiliumIdentity) -> None:
        before = self._index.labels.get(number)
        self._index.put(number, item)
        if not self._used(number):
            return
        if before is not None and before != item.security_labels:
            self._lose(number)
        elif self._index.marked(number):
            self._start(f"unmark {number}", self._keep(number))

    def _used(self, number: int) -> bool:
        return self._in_flight(number) or self.in_use(number)

    def _in_flight(self, number: int) -> bool:
        since = self._handed.get(number, float("-inf"))
        if time.monotonic() - since < IN_FLIGHT:
            return True
        self._handed.pop(number, None)
        return False

    def _start(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        """Run a job behind, one of each name at a time."""
        running = self._jobs.get(name)
        if running is not None and not running.done():
            job.close()
            return
        task = self._jobs[name] = asyncio.ensure_future(job)

        def ended(done: asyncio.Task[None]) -> None:
            if self._jobs[name] is done:
                del self._jobs[name]

        task.add_done_callback(ended)

    async def _keep(self, number: int) -> None:
        """Take the mark off an identity in use."""
        backoff = Backoff()
        while self._index.marked(number) and self._used(number):
            try:
                await self._unmark(number)
            except _REFUSED as error:
                log.warning("mark not removed", identity=number, error=str(error) or repr(error))
                await backoff.sleep()

    async def _recreate(self, number: int, labels: LabelSet) -> None:
        log.warning("identity in use was deleted; creating it again", identity=number)
        backoff = Backoff()
        while self._used(number):
            # Not beside `allocate`, which would take a second number for labels that have one.
            async with self._alone(canonical_key(labels)):
                held = self._index.labels.get(number)
                if held is None:
                    held = await self._make_again(number, labels)
            if held is None:
                await backoff.sleep()
            elif held != labels:
                self._lose(number)
                return
            else:
                return

    async def _make_again(self, number: int, labels: LabelSet) -> LabelSet | None:
        """Create the object; return the labels that the number stands for, None when unknown."""
        try:
            made = await self._client.create(PATH, _object(number, labels), CiliumIdentity)
        except ApiError as error:
            if not error.already_exists:
                log.warning("identity not created", identity=number, error=str(error))
                return None
            return await self._met(number)
        except _REFUSED as error:
            log.warning("identity not created", identity=number, error=repr(error))
            return None
        self._index.put(number, made)
        return made.security_labels

    async def _met(self, number: int) -> LabelSet | None:
        try:
            found = await self._client.find(f"{PATH}/{number}", CiliumIdentity)
        except _REFUSED as error:
            log.warning("identity not read", identity=number, error=str(error) or repr(error))
            return None
        if found is None:
            return None
        self._take_in(number, found)
        return found.security_labels

    def _lose(self, number: int) -> None:
        """Have the endpoints of the number ask again, those too that are still being made."""
        log.error("the number of an identity in use stands for other labels", identity=number)
        self._retold[number] = self._handed.get(number, float("-inf")) + IN_FLIGHT
        self.lost(number)
        self._start(f"retell {number}", self._retell(number))

    async def _retell(self, number: int) -> None:
        while time.monotonic() < self._retold[number]:
            await asyncio.sleep(RETELL_SECONDS)
            self.lost(number)
        del self._retold[number]


def _object(number: int, labels: LabelSet) -> CiliumIdentity:
    namespace = labels.get(f"k8s:{NAMESPACE}", "")
    meta = ObjectMeta(name=str(number), labels={NAMESPACE: namespace} if namespace else {})
    return CiliumIdentity(metadata=meta, security_labels=dict(labels))
