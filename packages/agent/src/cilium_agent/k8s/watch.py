# SPDX-License-Identifier: Apache-2.0
"""List and watch of one collection as an endless stream of typed events.

After a lost connection the watch goes on at the last resourceVersion; after 410 (Gone), or when
the server does not know the version, the collection is listed again. A server that answers
nothing for longer than a bookmark takes is left. Runs in one task; never raises for failures of
the API server, which it logs and retries with backoff.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from typing import Generic, NamedTuple, TypeVar

import aiohttp
import msgspec
import structlog

from cilium_agent.errors import ApiError
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import PAGE, ApiClient

T = TypeVar("T")
log = structlog.get_logger(__name__)

IDLE_SECONDS = 150.0  # bookmarks come about once a minute, on quiet collections less often
WATCH_SECONDS = (240, 480)


class Listed(NamedTuple, Generic[T]):
    """The whole collection at one revision."""

    items: list[T]


class Changed(NamedTuple, Generic[T]):
    """One object was added or modified."""

    item: T


class Deleted(NamedTuple):
    """One object is gone, or has a form that cannot be read any more."""

    namespace: str
    name: str


Event = Listed[T] | Changed[T] | Deleted


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Meta(msgspec.Struct, rename={"version": "resourceVersion"}):
    name: str = ""
    namespace: str = ""
    version: str = ""


class _Any(msgspec.Struct):
    metadata: _Meta


class _Refused(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


class _Expired(Exception):
    """The revision is too old; list again."""


class Reflector(Generic[T]):
    """Follows one collection. `path` is the collection's, `selector` extra query words."""

    def __init__(
        self,
        client: ApiClient,
        path: str,
        kind: type[T],
        selector: Mapping[str, str] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare; `events` starts."""
        self._client = client
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._selector = dict(selector or {})
        self._backoff = backoff or Backoff()
        self._version = ""

    async def events(self) -> AsyncIterator[Event[T]]:
        """Yield the first list, then every change, for ever."""
        while True:
            try:
                if not self._version:
                    items, version = await self._list()
                    self._version = version
                    yield Listed(items)
                async for event in self._watch():
                    self._backoff.reset()
                    yield event
            except _Expired as error:
                log.info("listing again", path=self._path, reason=str(error))
                self._version = ""
                await self._backoff.sleep()
            except ApiError as error:
                level = log.info if error.not_found else log.warning
                level("watch refused", path=self._path, error=str(error))
                if error.status in (400, 410, 404):
                    self._version = ""
                await self._backoff.sleep()
            except TimeoutError:
                log.info("watch was silent, connecting again", path=self._path)
                await self._backoff.sleep()
            except msgspec.DecodeError as error:  # not what an API server says: a broken stream
                log.warning(
                    "watch not understood, listing again", path=self._path, error=str(error)
                )
                self._version = ""
                await self._backoff.sleep()
            except (aiohttp.ClientError, OSError) as error:
                log.warning("watch interrupted", path=self._path, error=repr(error))
                await self._backoff.sleep()

    async def _list(self) -> tuple[list[T], str]:
        items: list[T] = []
        query = {**self._selector, "limit": str(PAGE)}
        while True:
            page = await self._client.page(self._path, query)
            decoded = (self._decode(raw) for raw in page.items)
            items.extend(item for item in decoded if item is not None)
            if not page.metadata.next:
                return items, page.metadata.version
            query["continue"] = page.metadata.next

    async def _watch(self) -> AsyncIterator[Changed[T] | Deleted]:
        query = {
            **self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        async for raw in self._client.watch(self._path, query, IDLE_SECONDS):
            line = msgspec.json.decode(raw, type=_Line)
            if line.type == "ERROR":
                self._refused(msgspec.json.decode(line.object, type=_Refused))
            meta = msgspec.json.decode(line.object, type=_Any).metadata
            self._version = meta.version
            if line.type in ("ADDED", "MODIFIED"):
                item = self._decode(line.object)
                # Unreadable is as good as gone: so the copy is the one that a new list would give.
                yield Changed(item) if item is not None else Deleted(meta.namespace, meta.name)
            elif line.type == "DELETED":
                yield Deleted(meta.namespace, meta.name)

    def _decode(self, raw: msgspec.Raw) -> T | None:
        """Return the object, None when it is not of the kind's form: one must not end us all."""
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            log.error("object cannot be read and is left out", path=self._path, error=str(error))
            return None

    def _refused(self, told: _Refused) -> None:
        if told.code == 410:
            raise _Expired(told.message)
        raise ApiError(told.code, told.reason, told.message)
