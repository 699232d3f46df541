# SPDX-License-Identifier: Apache-2.0
"""CiliumEndpoints are made, changed and removed, but never a namesake pod's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from fake_api import FakeApi, eventually, serving

from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.publisher import EndpointPublisher
from cilium_agent.model import Endpoint, EndpointState

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
