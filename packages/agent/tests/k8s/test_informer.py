# SPDX-License-Identifier: Apache-2.0
"""One object, or one handler, keeps an informer from nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fake_api import FakeApi, eventually, serving
from structlog.testing import capture_logs

from cilium_agent.api.status import controllers
from cilium_agent.config import Settings
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.informer import Informer
from cilium_agent.k8s.objects import NamespaceObject
from cilium_agent.k8s.watch import Reflector
from cilium_agent.metrics.collector import Renderer
from cilium_agent.state import AgentState

PATH = "/api/v1/namespaces"


def namespace(name: str, **labels: object) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": labels}}


@asynccontextmanager
async def informing(client: ApiClient) -> AsyncIterator[Informer[NamespaceObject]]:
    quick = Backoff(first=0.01, limit=0.05)
    informer = Informer("Namespace", Reflector(client, PATH, NamespaceObject, backoff=quick))
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), 5)
        await eventually(lambda: bool(client.calls["WATCH", 200]))
        yield informer
        assert not task.done(), "the watch must outlive everything"
    finally:
        task.cancel()
        await asyncio.wait({task})


def clumsy(old: NamespaceObject | None, new: NamespaceObject | None) -> None:
    item = new if new is not None else old
    if item is not None and item.metadata.labels.get("odd"):
        raise KeyError("nobody thought of this")


async def test_a_handler_that_raises_is_told_and_ends_nothing() -> None:
    api = FakeApi()
    api.put(PATH, namespace("odd", odd="1"))
    api.put(PATH, namespace("good"))
    seen: list[str] = []
    state = AgentState(settings=Settings(node_name="node1"))
    async with serving(api) as client, informing(client) as informer:
        state.informers = {"Namespace": informer}
        with capture_logs() as logs:
            informer.on_change(clumsy)  # what is there already counts too
            informer.on_change(lambda _old, new: seen.append(new.metadata.name if new else ""))
            assert sorted(seen) == ["good", "odd"], "the next handler is told all the same"
            api.put(PATH, namespace("later"))
            await eventually(lambda: "later" in seen)
        (told,) = (entry for entry in logs if entry["log_level"] == "error")
        assert (told["object"], told["handler"], told["exc_info"]) == ("odd", "clumsy", True)
        text = Renderer(state).render().decode()
        assert 'events_total{action="create",scope="Namespace",status="failed"} 1.0' in text
        (shown,) = controllers(state)
        assert shown["name"] == "watch-Namespace"
        assert "odd not taken in: KeyError" in shown["status"]["last-failure-msg"]
        api.put(PATH, namespace("odd"))  # its next version is a new attempt
        await eventually(lambda: not informer.faulty)
        assert controllers(state) == []


async def test_an_object_that_cannot_be_read_any_more_is_as_good_as_gone() -> None:
    api = FakeApi()
    api.put(PATH, namespace("one"))
    api.put(PATH, namespace("two"))
    async with serving(api) as client, informing(client) as informer:
        api.put(PATH, namespace("one", odd=["no text"]))
        await eventually(lambda: ("", "one") not in informer.items)
        api.put(PATH, namespace("one"))
        await eventually(lambda: ("", "one") in informer.items)
        api.objects[f"{PATH}/two"]["metadata"]["labels"] = 7
        api.remove(f"{PATH}/two")  # its last state cannot be read, and it is gone
        await eventually(lambda: ("", "two") not in informer.items)


@pytest.mark.parametrize("line", [b"no json\n", b'{"type":"ADDED","object":{"metadata":7}}\n'])
async def test_a_stream_that_makes_no_sense_is_listed_again(line: bytes) -> None:
    api = FakeApi()
    api.put(PATH, namespace("one"))
    async with serving(api) as client, informing(client) as informer:
        await eventually(lambda: bool(api.watches))
        for response in api.watches:
            await response.write(line)
        api.put(PATH, namespace("two"))
        await eventually(lambda: ("", "two") in informer.items)
        lists = [path for _, path in api.requests if "limit=" in path]
        assert len(lists) == 2
