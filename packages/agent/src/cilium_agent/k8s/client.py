# SPDX-License-Identifier: Apache-2.0
"""The few requests that the agent makes: typed reads, paged lists, watch lines, guarded writes.

Nothing is retried here; callers know what a failure means to them. One event loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from cilium_agent.errors import ApiError
from cilium_core.process.access import Access
from cilium_core.process.session import BASE_URL, open_session

T = TypeVar("T")
PAGE = 500
TIMEOUT = aiohttp.ClientTimeout(total=30.0, sock_connect=5.0)
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class ListMeta(msgspec.Struct, rename={"next": "continue", "version": "resourceVersion"}):
    """metadata of a list: where the next page starts and which revision it shows."""

    next: str = ""
    version: str = ""


class Page(msgspec.Struct):
    """One page of a list; items are decoded by the caller."""

    items: list[msgspec.Raw] = []
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


class ApiClient:
    """Requests to the API server. ApiError for refusals, aiohttp's errors for lost servers.

    `calls` counts (method, HTTP status; 0 for no answer); `last_contact` is the monotonic time
    of the last answer.
    """

    def __init__(self, access: Access, base: str = BASE_URL) -> None:
        """Open a session; close() ends it. `base` differs in tests only."""
        self._session = open_session(access)
        self._base = base
        self.calls: Counter[tuple[str, int]] = Counter()
        self.last_contact = 0.0

    async def close(self) -> None:
        """Close the session and its connections."""
        await self._session.close()

    async def get(self, path: str, kind: type[T]) -> T:
        """Read one object into `kind`."""
        return msgspec.json.decode(await self.send("GET", path), type=kind)

    async def find(self, path: str, kind: type[T]) -> T | None:
        """Read one object, or return None when it is not there."""
        try:
            return await self.get(path, kind)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def page(self, path: str, query: Mapping[str, str]) -> Page:
        """Read one page of a collection."""
        return msgspec.json.decode(await self.send("GET", path, query=query), type=Page)

    async def create(self, path: str, body: Any, kind: type[T]) -> T:
        """Create an object in a collection; return it as stored."""
        return msgspec.json.decode(await self.send("POST", path, body), type=kind)

    async def patch(self, path: str, body: Any, content: str = MERGE_PATCH) -> bytes:
        """Patch an object; return its JSON as stored."""
        return await self.send("PATCH", path, body, content=content)

    async def delete(self, path: str, uid: str = "") -> None:
        """Delete an object, with `uid` only that very one; absent is not an error."""
        body = {"preconditions": {"uid": uid}} if uid else None
        try:
            await self.send("DELETE", path, body)
        except ApiError as error:
            if not error.not_found:
                raise

    async def watch(self, path: str, query: Mapping[str, str], idle: float) -> AsyncIterator[bytes]:
        """Yield the lines of a watch until the server ends it.

        TimeoutError when nothing at all arrives for `idle` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=idle)
        async with self._session.get(self._base + path, params=query, timeout=timeout) as response:
            self._count("WATCH", response.status)
            if response.status >= 400:
                raise _refusal(response.status, await response.read())
            pending = bytearray()
            async for chunk in response.content.iter_any():
                self.last_contact = time.monotonic()
                pending += chunk
                if b"\n" not in chunk:
                    continue
                *lines, rest = bytes(pending).split(b"\n")
                pending = bytearray(rest)
                for line in filter(None, lines):
                    yield line

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> bytes:
        """Send one request and return the answer's bytes."""
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": content} if data is not None else None
        try:
            async with self._session.request(
                method, self._base + path, data=data, params=query, headers=headers, timeout=TIMEOUT
            ) as response:
                raw = await response.read()
                self._count(method, response.status)
        except (aiohttp.ClientError, TimeoutError):
            self.calls[method, 0] += 1
            raise
        if response.status >= 400:
            raise _refusal(response.status, raw)
        return raw

    def _count(self, method: str, status: int) -> None:
        self.calls[method, status] += 1
        self.last_contact = time.monotonic()


def _refusal(status: int, raw: bytes) -> ApiError:
    try:
        told = msgspec.json.decode(raw, type=_Status)
    except msgspec.DecodeError:
        told = _Status(message=raw[:200].decode(errors="replace"))
    return ApiError(status, told.reason, told.message)
