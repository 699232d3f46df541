# SPDX-License-Identifier: Apache-2.0
"""CiliumEndpoints are made, changed and removed, but never a namesake pod's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec
import pytest
from fake_api import FakeApi, eventually, serving

from cilium_agent.k8s import publisher as module
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.publisher import EndpointPublisher
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import Endpoint, EndpointState
from cilium_core.crds.models import CiliumEndpoint

COLLECTION = "/apis/cilium.io/v2/namespaces/shop/ciliumendpoints"

ENDPOINT = Endpoint(
    endpoint_id=7,
    container_id="c1",
    interface="eth0",
    netns="/ns",
    pod_namespace="shop",
    pod_name="web-0",
    pod_uid="pod-1",
    ipv4=IPv4Address("10.0.0.7"),
    ipv6=IPv6Address("fd00::7"),
    host_interface="lxc7",
    host_ifindex=7,
    mac=bytes(6),
    node_mac=bytes(6),
    identity=300,
    labels={"k8s:app": "web"},
    state=EndpointState.READY,
)


@asynccontextmanager
async def publishing(client: ApiClient) -> AsyncIterator[EndpointPublisher]:
    publisher = EndpointPublisher(client, "172.30.0.11")
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.wait({task})


def stored(api: FakeApi) -> Any:
    return api.objects.get(f"{COLLECTION}/web-0")


async def test_object_has_what_other_agents_and_users_need() -> None:
    api = FakeApi()
    async with serving(api) as client, publishing(client) as publisher:
        publisher.publish(ENDPOINT)
        await eventually(lambda: stored(api) is not None)
        await eventually(lambda: publisher.pending == 0)
    item = stored(api)
    status = item["status"]
    assert item["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "pod-1"}
    ]
    assert status["id"] == 7
    assert status["state"] == "ready"
    assert status["identity"] == {"id": 300, "labels": ["k8s:app=web"]}
    assert status["networking"] == {
        "addressing": [{"ipv4": "10.0.0.7", "ipv6": "fd00::7"}],
        "node": "172.30.0.11",
    }
    assert status["external-identifiers"]["pod-name"] == "shop/web-0"
    assert status["external-identifiers"]["cni-attachment-id"] == "c1:eth0"


async def test_an_update_changes_and_a_refusal_is_retried() -> None:
    api = FakeApi()
    async with serving(api) as client, publishing(client) as publisher:
        publisher.publish(ENDPOINT)
        await eventually(lambda: stored(api) is not None)
        api.fail_next = [500]
        publisher.publish(replace(ENDPOINT, identity=301))
        await eventually(lambda: stored(api)["status"]["identity"]["id"] == 301)
        await eventually(lambda: publisher.pending == 0)
        assert publisher.failures == 1
        writes = len([method for method, _ in api.requests if method in ("POST", "PATCH")])
        publisher.publish(replace(ENDPOINT, identity=301))  # nothing new: nothing is written
        await eventually(lambda: publisher.pending == 0)
    assert len([m for m, _ in api.requests if m in ("POST", "PATCH")]) == writes


async def test_withdraw_spares_a_namesake() -> None:
    api = FakeApi()
    successor = replace(ENDPOINT, pod_uid="pod-2", identity=302)
    async with serving(api) as client, publishing(client) as publisher:
        publisher.publish(successor)
        await eventually(lambda: publisher.pending == 0)
        publisher.withdraw(ENDPOINT)
        await eventually(lambda: publisher.pending == 0)
        assert stored(api)["status"]["identity"]["id"] == 302
        publisher.withdraw(successor)
        await eventually(lambda: stored(api) is None)


async def test_a_successor_replaces_the_object_of_the_pod_before() -> None:
    api = FakeApi()
    async with serving(api) as client, publishing(client) as publisher:
        publisher.publish(ENDPOINT)
        await eventually(lambda: publisher.pending == 0)
        before = stored(api)["metadata"]["uid"]
        publisher.publish(replace(ENDPOINT, pod_uid="pod-2"))
        await eventually(lambda: publisher.pending == 0)
    assert stored(api)["metadata"]["uid"] != before
    assert stored(api)["metadata"]["ownerReferences"][0]["uid"] == "pod-2"


async def test_withdraw_spares_the_pods_new_sandbox() -> None:
    """A late DEL of the sandbox before must not take the live object away."""
    api = FakeApi()
    new = replace(ENDPOINT, endpoint_id=8, container_id="c2", host_interface="lxc8")
    async with serving(api) as client, publishing(client) as publisher:
        publisher.publish(ENDPOINT)
        await eventually(lambda: publisher.pending == 0)
        publisher.publish(new)
        publisher.withdraw(ENDPOINT)  # before the new one is written
        await eventually(lambda: publisher.pending == 0)
        assert stored(api)["status"]["id"] == 8
        publisher.withdraw(ENDPOINT)  # and after
        await eventually(lambda: publisher.pending == 0)
        assert stored(api)["status"]["id"] == 8
    async with serving(api) as client, publishing(client) as restarted:
        restarted.withdraw(ENDPOINT)  # and by an agent that has published nothing yet
        await eventually(lambda: restarted.pending == 0)
        assert stored(api)["status"]["id"] == 8
        restarted.withdraw(replace(new, container_id="c3"))
        await eventually(lambda: restarted.pending == 0)
        assert stored(api) is not None
        restarted.withdraw(replace(new, container_id=""))  # rebuilt: the container is not known
        await eventually(lambda: stored(api) is None)


POD = "/api/v1/namespaces/shop/pods"


def put_pod(api: FakeApi, uid: str = "pod-1", phase: str = "Running") -> None:
    meta = {"name": "web-0", "namespace": "shop", "uid": uid}
    api.put(POD, {"metadata": meta, "status": {"phase": phase}})


@asynccontextmanager
async def keeping(client: ApiClient) -> AsyncIterator[EndpointPublisher]:
    """A publisher that follows the objects, with the endpoint published."""
    watches = Watches.of(client, "node1")
    task = asyncio.create_task(watches.ciliumendpoints.run())
    try:
        async with publishing(client) as publisher:
            publisher.attach(watches.ciliumendpoints)
            await asyncio.wait_for(watches.ciliumendpoints.synced.wait(), 5)
            publisher.publish(ENDPOINT)
            await eventually(lambda: ("shop", "web-0") in watches.ciliumendpoints.items)
            await eventually(lambda: publisher.pending == 0)
            yield publisher
            assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


def change(api: FakeApi, **status: Any) -> None:
    item = stored(api)
    api.put(COLLECTION, {**item, "status": {**item["status"], **status}})


async def test_an_object_that_vanishes_or_is_changed_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REPAIR_SECONDS", 0.05)
    api = FakeApi()
    put_pod(api)
    async with serving(api) as client, keeping(client) as publisher:
        right = stored(api)["status"]
        api.remove(f"{COLLECTION}/web-0")
        await eventually(lambda: stored(api) is not None)
        change(api, identity={"id": 999, "labels": []})
        await eventually(lambda: stored(api)["status"] == right)
        change(api, **{"service-account": "nobody"})  # a field that is not written
        await eventually(lambda: stored(api)["status"] == right)
        api.put(COLLECTION, {**stored(api), "metadata": {"name": "web-0", "namespace": "shop"}})
        await eventually(lambda: stored(api) and "ownerReferences" in stored(api)["metadata"])
        assert publisher.repairs == 4
        publisher.withdraw(ENDPOINT)
        await eventually(lambda: stored(api) is None)
        await asyncio.sleep(0.2)
    assert stored(api) is None, "what was withdrawn stays away"


@pytest.mark.parametrize(
    ("uid", "phase"), [("pod-2", "Running"), ("pod-1", "Succeeded"), ("pod-1", "Failed"), ("", "")]
)
async def test_an_object_is_not_kept_for_a_pod_that_is_no_more(uid: str, phase: str) -> None:
    """Another node's agent, or the operator, has the object then; nobody fights over it."""
    api = FakeApi()
    put_pod(api)
    async with serving(api) as client, keeping(client) as publisher:
        api.remove(f"{POD}/web-0")
        if uid:
            put_pod(api, uid, phase)
        api.remove(f"{COLLECTION}/web-0")
        await eventually(lambda: any(path == f"{POD}/web-0" for _, path in api.requests))
        await eventually(lambda: publisher.pending == 0)
        assert stored(api) is None
        assert publisher.repairs == 0


async def test_two_nodes_with_one_pod_name_leave_the_object_to_the_pod_that_lives() -> None:
    api = FakeApi()
    put_pod(api)
    moved = replace(ENDPOINT, pod_uid="pod-2", identity=302, endpoint_id=9, container_id="c9")
    async with serving(api) as client, keeping(client) as old_node:
        put_pod(api, "pod-2")
        async with publishing(client) as new_node:
            new_node.publish(moved)
            await eventually(lambda: new_node.pending == 0)
            await asyncio.sleep(0.1)
            await eventually(lambda: old_node.pending == 0)
    assert stored(api)["metadata"]["ownerReferences"][0]["uid"] == "pod-2"


async def test_repairs_of_one_object_have_a_pace() -> None:
    api = FakeApi()
    put_pod(api)
    async with serving(api) as client, keeping(client) as publisher:
        for number in range(20):
            change(api, id=100 + number)
            await asyncio.sleep(0.01)
        assert publisher.repairs <= 1


HERE = "172.30.0.11"


def leftover(api: FakeApi, name: str, node: str = HERE, address: str = "10.0.0.99") -> None:
    networking = {"addressing": [{"ipv4": address}], "node": node}
    meta = {"name": name, "namespace": "shop"}
    api.put(COLLECTION, {"metadata": meta, "status": {"id": 1, "networking": networking}})


def listed(api: FakeApi) -> list[CiliumEndpoint]:
    return [msgspec.convert(item, CiliumEndpoint) for item in api.collection(COLLECTION)]


def names(api: FakeApi) -> list[str]:
    return [item["metadata"]["name"] for item in api.collection(COLLECTION)]


async def test_an_object_of_this_node_without_an_endpoint_goes() -> None:
    api = FakeApi()
    leftover(api, "gone")
    leftover(api, "elsewhere", node="172.30.0.12")
    leftover(api, "rebuilt", address="10.0.0.7")  # its endpoint does not know its pod yet
    leftover(api, "web-0")
    unnamed = replace(ENDPOINT, pod_namespace="", pod_name="", pod_uid="", labels={})
    named = replace(ENDPOINT, ipv4=IPv4Address("10.0.0.8"))
    api.fail_next = [500]
    async with serving(api) as client, publishing(client) as publisher:
        publisher.withdraw_leftovers(listed(api), [unnamed, named])
        await eventually(lambda: "gone" not in names(api))
        await eventually(lambda: publisher.pending == 0)
        assert publisher.failures == 1
    assert names(api) == ["elsewhere", "rebuilt", "web-0"]


async def test_what_became_anothers_since_it_was_listed_is_no_leftover() -> None:
    api = FakeApi()
    for name in ("moved", "anew", "web-0"):
        leftover(api, name)
    seen = listed(api)
    uid = stored(api)["metadata"]["uid"]
    leftover(api, "moved", node="172.30.0.12")
    api.remove(f"{COLLECTION}/anew")
    leftover(api, "anew")
    async with serving(api) as client, publishing(client) as publisher:
        publisher.withdraw_leftovers(seen, [])
        publisher.publish(replace(ENDPOINT, pod_uid=""))  # an ADD that comes right behind
        await eventually(lambda: publisher.pending == 0)
    assert names(api) == ["anew", "moved", "web-0"]
    assert stored(api)["metadata"]["uid"] == uid, "changed, never away"
    assert stored(api)["status"]["id"] == 7
