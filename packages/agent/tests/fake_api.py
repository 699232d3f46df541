# SPDX-License-Identifier: Apache-2.0
"""A small API server: objects in a dict, lists with pages, watches with a log of events.

Real HTTP through aiohttp, so the client's own code runs whole.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from cilium_agent.k8s.client import ApiClient
from cilium_core.process.access import Access, Token

JSON = dict[str, Any]


class FakeApi:
    """Objects by path (`/api/v1/pods/…`); every write is an event with a revision."""

    def __init__(self) -> None:
        self.objects: dict[str, JSON] = {}
        self.log: list[tuple[int, str, str, JSON]] = []  # revision, type, collection, object
        self.revision = 100
        self.oldest = 0  # watches from before get 410
        self.requests: list[tuple[str, str]] = []
        self.fail_next: list[int] = []
        self.page_size = 0
        self.grew = asyncio.Event()
        self.watches: set[web.StreamResponse] = set()

    def put(self, collection: str, item: JSON) -> JSON:
        """Create or replace an object of a collection."""
        path = self._path(collection, item)
        kind = "MODIFIED" if path in self.objects else "ADDED"
        item["metadata"].setdefault("uid", f"uid-{self.revision}")
        self._record(kind, collection, item)
        self.objects[path] = item
        return item

    def remove(self, path: str) -> None:
        item = self.objects.pop(path)
        self._record("DELETED", path.rsplit("/", 1)[0], item)

    def forget_history(self) -> None:
        """Answer watches from older revisions with 410."""
        self.revision += 1
        self.oldest = self.revision

    async def drop_watches(self) -> None:
        """Break every open watch."""
        for response in list(self.watches):
            if response._req is not None and response._req.transport is not None:
                response._req.transport.abort()
        await asyncio.sleep(0)

    def collection(self, path: str) -> list[JSON]:
        listed = sorted(self.objects.items())
        return [item for held, item in listed if _covers(path, held.rsplit("/", 1)[0])]

    def _path(self, collection: str, item: JSON) -> str:
        return f"{collection}/{item['metadata']['name']}"

    def _record(self, kind: str, collection: str, item: JSON) -> None:
        self.revision += 1
        item["metadata"]["resourceVersion"] = str(self.revision)
        self.log.append((self.revision, kind, collection, json.loads(json.dumps(item))))
        self.grew.set()
        self.grew = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        if self.fail_next:
            return _refused(self.fail_next.pop(0), "Injected")
        if request.query.get("watch"):
            return await self._watch(request)
        method = getattr(self, f"_{request.method.lower()}")
        response: web.StreamResponse = await method(request)
        return response

    async def _get(self, request: web.Request) -> web.Response:
        path = request.path
        if path in self.objects:
            return web.json_response(self.objects[path])
        if "limit" not in request.query:
            return _refused(404, "NotFound")
        items = self.collection(path)
        start = int(request.query.get("continue", "0"))
        size = self.page_size or len(items) or 1
        more = str(start + size) if start + size < len(items) else ""
        meta = {"resourceVersion": str(self.revision), "continue": more}
        return web.json_response({"items": items[start : start + size], "metadata": meta})

    async def _post(self, request: web.Request) -> web.Response:
        item = await request.json()
        if self._path(request.path, item) in self.objects:
            return _refused(409, "AlreadyExists")
        return web.json_response(self.put(request.path, item), status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        if request.path not in self.objects:
            return _refused(404, "NotFound")
        change = await request.json()
        item = self.objects[request.path]
        if _other(item, change.get("metadata", {})):
            return _refused(409, "Conflict")
        merged = _merge(item, change)
        return web.json_response(self.put(request.path.rsplit("/", 1)[0], merged))

    async def _delete(self, request: web.Request) -> web.Response:
        if request.path not in self.objects:
            return _refused(404, "NotFound")
        body = await request.json() if request.can_read_body else {}
        if _other(self.objects[request.path], body.get("preconditions", {})):
            return _refused(409, "Conflict")
        self.remove(request.path)
        return web.json_response({"status": "Success"})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if since < self.oldest:
            status = {"code": 410, "reason": "Expired", "message": "too old"}
            await response.write(_line("ERROR", status))
            return response
        self.watches.add(response)
        try:
            while True:
                grew = self.grew
                for revision, kind, collection, item in list(self.log):
                    if revision > since and _covers(request.path, collection):
                        since = revision
                        line = _line(kind, item)
                        await response.write(line[:7])  # lines come in pieces
                        await response.write(line[7:])
                await grew.wait()
        finally:
            self.watches.discard(response)


@asynccontextmanager
async def serving(api: FakeApi) -> AsyncIterator[ApiClient]:
    """Serve the API and yield a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    server = TestServer(app, shutdown_timeout=0)
    await server.start_server()
    access = Access(
        ((str(server.host), int(server.port or 0)),),
        "fake",
        ssl.create_default_context(),
        Token(text="secret"),
    )
    client = ApiClient(access, str(server.make_url("")).rstrip("/"))
    try:
        yield client
    finally:
        await client.close()
        await server.close()


async def eventually(condition: Any, seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _covers(path: str, collection: str) -> bool:
    """Tell whether a list of `path` shows a collection, as that of all namespaces shows each."""
    version, marker, rest = collection.partition("/namespaces/")
    everywhere = f"{version}/{rest.partition('/')[2]}" if marker else collection
    return path.rstrip("/") in (collection, everywhere)


def _line(kind: str, item: JSON) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def _refused(status: int, reason: str) -> web.Response:
    return web.json_response({"reason": reason, "message": reason}, status=status)


def _merge(item: Any, change: Any) -> Any:
    if not isinstance(change, dict) or not isinstance(item, dict):
        return change
    merged = dict(item)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key, {} if isinstance(value, dict) else None), value)
    return merged


def _other(item: JSON, guards: JSON) -> bool:
    """Tell whether the guards of a write mean another object, or another version of it."""
    return any(
        guards.get(key) not in (None, item["metadata"].get(key))
        for key in ("uid", "resourceVersion")
    )
