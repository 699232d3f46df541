# SPDX-License-Identifier: Apache-2.0
"""List, watch and informer against a server that pages, breaks and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fake_api import FakeApi, eventually, serving

from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import NamespaceObject
from cilium_agent.k8s.watch import Reflector

PATH = "/api/v1/namespaces"


def namespace(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"ignored": True}}


@asynccontextmanager
async def informing(client: ApiClient) -> AsyncIterator[Informer[NamespaceObject]]:
    quick = Backoff(first=0.01, limit=0.05)
    informer = Informer("Namespace", Reflector(client, PATH, NamespaceObject, backoff=quick))
    task = asyncio.create_task(informer.run())
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_lists_in_pages_then_follows() -> None:
    api = FakeApi()
    api.page_size = 2
    for number in range(5):
        api.put(PATH, namespace(f"ns{number}"))
    async with serving(api) as client, informing(client) as informer:
        await asyncio.wait_for(informer.synced.wait(), 5)
        assert sorted(name for _, name in informer.items) == [f"ns{n}" for n in range(5)]
        assert sum("continue=" in path for _, path in api.requests) == 2
        api.put(PATH, namespace("ns1", team="a"))
        api.put(PATH, namespace("late"))
        api.remove(f"{PATH}/ns0")
        await eventually(lambda: ("", "ns0") not in informer.items)
        changed = informer.get("", "ns1")
        assert changed is not None
        assert changed.metadata.labels == {"team": "a"}
        assert ("", "late") in informer.items
        assert "allowWatchBookmarks=true" in api.requests[-1][1]


async def test_a_broken_watch_resumes_where_it_was() -> None:
    api = FakeApi()
    api.put(PATH, namespace("one"))
    async with serving(api) as client, informing(client) as informer:
        await asyncio.wait_for(informer.synced.wait(), 5)
        api.put(PATH, namespace("two"))
        await eventually(lambda: ("", "two") in informer.items)
        await eventually(lambda: bool(api.watches))
        version = api.revision
        await api.drop_watches()
        api.put(PATH, namespace("three"))
        await eventually(lambda: ("", "three") in informer.items)
    lists = [path for method, path in api.requests if "limit=" in path]
    assert len(lists) == 1, "a lost connection must not list again"
    assert f"resourceVersion={version}" in "".join(path for _, path in api.requests)


async def test_expired_version_lists_again_and_tells_what_went() -> None:
    api = FakeApi()
    api.put(PATH, namespace("stays"))
    api.put(PATH, namespace("goes"))
    told: list[tuple[str | None, str | None]] = []
    async with serving(api) as client, informing(client) as informer:
        await asyncio.wait_for(informer.synced.wait(), 5)
        informer.on_change(
            lambda old, new: told.append(
                (old.metadata.name if old else None, new.metadata.name if new else None)
            )
        )
        await eventually(lambda: bool(api.watches))
        await api.drop_watches()
        del api.objects[f"{PATH}/goes"]  # its DELETED event is compacted away
        api.forget_history()
        await eventually(lambda: ("", "goes") not in informer.items)
    assert told == [(None, "goes"), (None, "stays"), ("goes", None)] or told == [
        (None, "stays"),
        (None, "goes"),
        ("goes", None),
    ]


async def test_waits_for_a_kind_that_is_not_registered_yet() -> None:
    api = FakeApi()
    api.fail_next = [404, 404, 500, 403]
    api.put(PATH, namespace("one"))
    async with serving(api) as client, informing(client) as informer:
        await asyncio.wait_for(informer.synced.wait(), 5)
        assert ("", "one") in informer.items
    assert len(api.requests) >= 5


def test_backoff_doubles_up_to_its_limit_and_starts_over() -> None:
    backoff = Backoff(first=1.0, limit=4.0)
    delays = [backoff.delay() for _ in range(5)]
    for delay, most in zip(delays, [1.0, 2.0, 4.0, 4.0, 4.0], strict=True):
        assert most / 2 <= delay <= most
    backoff.reset()
    assert backoff.delay() <= 1.0


async def test_an_object_of_another_form_ends_nothing() -> None:
    api = FakeApi()
    api.put(PATH, {"metadata": {"name": "odd", "labels": "no mapping"}})
    api.put(PATH, namespace("good"))
    async with serving(api) as client, informing(client) as informer:
        await asyncio.wait_for(informer.synced.wait(), 5)
        assert [name for _, name in informer.items] == ["good"]
        api.put(PATH, {"metadata": {"name": "odd2", "labels": 7}})
        api.put(PATH, namespace("late"))
        await eventually(lambda: ("", "late") in informer.items)
        assert ("", "odd2") not in informer.items
