# SPDX-License-Identifier: Apache-2.0
"""The few requests that the operator makes itself: typed reads, guarded writes.

kopf watches; this client writes, and confirms before something is deleted. Every write that
touches what others own is guarded by a resourceVersion or a UID. One event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import aiohttp
import msgspec

from cilium_core.crds.models import ObjectMeta
from cilium_core.process.access import Access
from cilium_core.process.session import BASE_URL, open_session
from cilium_operator.errors import ApiError

T = TypeVar("T")
PAGE = 500
TIMEOUT = aiohttp.ClientTimeout(total=30.0, sock_connect=10.0)
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Metadata(msgspec.Struct):
    """An object of which only metadata is wanted."""

    metadata: ObjectMeta


class _ListMeta(msgspec.Struct, rename={"next": "continue", "version": "resourceVersion"}):
    next: str = ""
    version: str = ""


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


class ApiClient:
    """Requests to the API server. ApiError for refusals, aiohttp's errors for lost servers."""

    def __init__(self, access: Access) -> None:
        """Open a session; close() ends it."""
        self._session = open_session(access)
        self._base = BASE_URL

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def get(self, path: str, kind: type[T]) -> T:
        """Read one object into `kind`."""
        return msgspec.json.decode(await self._send("GET", path), type=kind)

    async def find(self, path: str, kind: type[T]) -> T | None:
        """Read one object, or return None when it is not there."""
        try:
            return await self.get(path, kind)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def items(
        self,
        path: str,
        kind: type[T],
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[T]:
        """Read a collection page by page. All pages show one revision of the cluster.

        `selector` chooses by labels, `fields` by fields.
        """
        headers = {"Accept": METADATA_LIST} if metadata_only else {}
        params = {"limit": str(PAGE)}
        if selector:
            params["labelSelector"] = selector
        if fields:
            params["fieldSelector"] = fields
        while True:
            body = await self._send("GET", path, params=params, headers=headers)
            page = msgspec.json.decode(body, type=_Page)
            for raw in page.items or ():
                yield msgspec.json.decode(raw, type=kind)
            if not page.metadata.next:
                return
            params["continue"] = page.metadata.next

    async def exists(self, path: str) -> str:
        """Return the UID of the object, or an empty text when it is not there."""
        try:
            body = await self._send("GET", path, headers={"Accept": METADATA_ONE})
        except ApiError as error:
            if error.not_found:
                return ""
            raise
        return msgspec.json.decode(body, type=Metadata).metadata.uid

    async def create(self, path: str, body: Any) -> bytes:
        """Create an object; the answer is the stored one."""
        return await self._send("POST", path, body=body)

    async def replace(self, path: str, body: Any) -> bytes:
        """Replace an object; its metadata.resourceVersion guards it."""
        return await self._send("PUT", path, body=body)

    async def patch(self, path: str, body: Any, *, strategic: bool = False) -> bytes:
        """Patch an object by merge patch; put metadata.resourceVersion in to guard it."""
        kind = STRATEGIC_PATCH if strategic else MERGE_PATCH
        return await self._send("PATCH", path, body=body, headers={"Content-Type": kind})

    async def delete(self, path: str, *, uid: str, version: str = "") -> None:
        """Delete exactly this object (and this version of it); 409 when it is another one."""
        preconditions = {"uid": uid}
        if version:
            preconditions["resourceVersion"] = version
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self._send("DELETE", path, body=body)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        head = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
        request = self._session.request(
            method, self._base + path, data=data, params=params, headers=head, timeout=TIMEOUT
        )
        async with request as response:
            answer = await response.read()
            if response.status >= 400:
                raise _error(response.status, answer, f"{method} {path}")
            return answer


def _error(status: int, answer: bytes, action: str) -> ApiError:
    try:
        detail = msgspec.json.decode(answer, type=_Status)
    except msgspec.DecodeError:
        detail = _Status(message=answer[:200].decode(errors="replace"))
    return ApiError(status, detail.reason, detail.message, action)
