# SPDX-License-Identifier: Apache-2.0
"""This node's CiliumNode is made, kept, and owned by the Node that is registered now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from fake_api import FakeApi, eventually, serving
from structlog.testing import capture_logs

from cilium_agent.k8s.watches import Watches
from cilium_agent.nodes.own import PATH, OwnNode, internal_addresses

NODES = "/api/v1/nodes"
CIDRS = ["10.0.0.0/24", "fd00::/120"]
ROUTERS = (ip_address("10.0.0.1"), ip_address("fd00::1"))
NETWORKS = tuple(ip_network(text) for text in CIDRS)


def node(uid: str = "u1", *addresses: str) -> dict[str, Any]:
    listed = addresses or ("172.30.0.11", "fd00:30::11")
    entries = [{"type": "InternalIP", "address": text} for text in listed]
    return {
        "metadata": {"name": "node1", "uid": uid, "labels": {"zone": "a"}},
        "status": {
            "addresses": [*entries, {"type": "Hostname", "address": "node1"}],
            "nodeInfo": {"bootID": "boot-1"},
        },
    }


@asynccontextmanager
async def following(api: FakeApi) -> AsyncIterator[tuple[OwnNode, Watches]]:
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        own = OwnNode(client, "node1", watches.node, watches.ciliumnodes)
        tasks = [
            asyncio.create_task(watches.node.run()),
            asyncio.create_task(watches.ciliumnodes.run()),
        ]
        try:
            for informer in (watches.node, watches.ciliumnodes):
                await asyncio.wait_for(informer.synced.wait(), 5)
            yield own, watches
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@asynccontextmanager
async def kept(api: FakeApi) -> AsyncIterator[Watches]:
    """The object as a running agent keeps it, with its pod CIDRs given."""
    async with following(api) as (own, watches):
        await own.publish()
        item = stored(api)
        api.put(PATH, {**item, "spec": {**item["spec"], "ipam": {"podCIDRs": CIDRS}}})
        own.announce(ROUTERS, NETWORKS)
        task = asyncio.create_task(own.run())
        try:
            await eventually(lambda: "10.0.0.1" in addresses(api))
            yield watches
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})


def stored(api: FakeApi) -> Any:
    return api.objects.get(f"{PATH}/node1")


def addresses(api: FakeApi) -> list[str]:
    return [entry["ip"] for entry in (stored(api) or {"spec": {}})["spec"].get("addresses", [])]


def writes(api: FakeApi) -> int:
    return sum(method in ("POST", "PATCH") for method, _ in api.requests)


async def test_it_is_made_and_the_operators_share_is_left_alone() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with following(api) as (own, _):
        await own.publish()
        item = stored(api)
        assert item["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "u1"}
        ]
        assert item["metadata"]["labels"] == {"zone": "a"}
        assert "ipam" not in item["spec"]
        item["spec"]["ipam"] = {"podCIDRs": ["10.0.0.0/24"]}
        api.fail_next = [500]
        await own.publish((ip_address("10.0.0.1"), None))
    spec = stored(api)["spec"]
    assert spec["ipam"] == {"podCIDRs": ["10.0.0.0/24"]}
    assert (spec["bootid"], spec["encryption"]) == ("boot-1", {"key": 0})
    assert [(entry["type"], entry["ip"]) for entry in spec["addresses"]] == [
        ("InternalIP", "172.30.0.11"),
        ("InternalIP", "fd00:30::11"),
        ("CiliumInternalIP", "10.0.0.1"),
    ]


async def test_a_deleted_object_comes_back_with_the_cidrs_in_use() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api):
        before = stored(api)["spec"]
        api.fail_next = [500]  # whatever is asked next: it is tried again
        api.remove(f"{PATH}/node1")
        await eventually(lambda: stored(api) is not None)
        assert stored(api)["spec"] == before
        assert stored(api)["spec"]["ipam"]["podCIDRs"] == CIDRS


async def test_cidrs_that_another_node_has_now_are_not_claimed() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api) as watches:
        other = {"metadata": {"name": "node2"}, "spec": {"ipam": {"podCIDRs": ["10.0.0.0/25"]}}}
        api.put(PATH, other)
        await eventually(lambda: ("", "node2") in watches.ciliumnodes.items)
        api.remove(f"{PATH}/node1")
        await eventually(lambda: stored(api) is not None)
        assert "ipam" not in stored(api)["spec"], "the operator gives others"


async def test_a_node_that_registers_again_becomes_the_owner() -> None:
    """With the uid of a Node of the past Kubernetes would collect the object."""
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api):
        other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "c1"}
        item = stored(api)
        owners = [*item["metadata"]["ownerReferences"], other]
        api.put(PATH, {**item, "metadata": {**item["metadata"], "ownerReferences": owners}})
        api.remove(f"{NODES}/node1")
        await asyncio.sleep(0.05)
        api.put(NODES, node("u2"))

        def uids() -> list[str]:
            return [owner["uid"] for owner in stored(api)["metadata"]["ownerReferences"]]

        await eventually(lambda: uids() == ["u2", "c1"])
        assert stored(api)["spec"]["ipam"]["podCIDRs"] == CIDRS


async def test_without_its_node_the_object_is_the_operators_to_delete() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api) as watches:
        api.remove(f"{NODES}/node1")
        await eventually(lambda: not watches.node.items)
        before = writes(api)
        api.remove(f"{PATH}/node1")
        await eventually(lambda: not watches.ciliumnodes.items)
        await asyncio.sleep(0.1)
        assert (stored(api), writes(api)) == (None, before)
        api.put(NODES, node("u2"))
        await eventually(lambda: stored(api) is not None)


async def test_another_address_or_a_strangers_edit_is_put_right_and_then_all_is_quiet() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api) as watches:
        api.put(NODES, node("u1", "172.30.0.99"))
        await eventually(lambda: "172.30.0.99" in addresses(api))
        assert "172.30.0.11" not in addresses(api)
        item = stored(api)
        api.put(PATH, {**item, "spec": {**item["spec"], "addresses": []}})
        await eventually(lambda: "172.30.0.99" in addresses(api))
        version = str(api.revision)
        await eventually(
            lambda: watches.ciliumnodes.items["", "node1"].metadata.resource_version == version
        )
        await asyncio.sleep(0.05)
        before = writes(api)
        api.put(PATH, {**stored(api), "status": {"ipam": {}}})  # no business of the agent's
        api.put(NODES, node("u1", "172.30.0.99"))
        await asyncio.sleep(0.1)
        assert writes(api) == before


async def test_text_that_is_no_address_is_not_announced_and_named_once_a_version() -> None:
    api = FakeApi()
    api.put(NODES, node("u1", "010.0.0.1", "172.30.0.11"))
    with capture_logs() as logs:
        async with kept(api) as watches:
            assert addresses(api) == ["172.30.0.11", "10.0.0.1", "fd00::1"]
            held = watches.node.get("", "node1")
            assert held is not None
            assert internal_addresses(held) == (ip_address("172.30.0.11"), None)
            item = stored(api)
            ipam = {"podCIDRs": ["10.0.0.1/24", "fd00::/120"]}
            api.put(PATH, {**item, "spec": {**item["spec"], "ipam": ipam}})
            await eventually(lambda: any("podCIDRs[0]" in str(e.get("error")) for e in logs))
    told = [entry["error"] for entry in logs if "left out" in entry["event"]]
    assert [text for text in told if "status.addresses[0].address" in text] == told[:1]
    assert len(told) == 2


@pytest.mark.parametrize("there", [False, True])
async def test_an_agent_that_starts_gives_an_object_the_cidrs_of_the_last_run(there: bool) -> None:
    """No operator is needed for the endpoints of a node whose object went while no agent ran."""
    api = FakeApi()
    api.put(NODES, node())
    if there:
        api.put(PATH, {"metadata": {"name": "node1"}, "spec": {"ipam": {"podCIDRs": []}}})
    async with following(api) as (own, watches):
        own.claim(NETWORKS)
        assert own.lacks_networks()
        await own.publish()
        assert stored(api)["spec"]["ipam"]["podCIDRs"] == CIDRS
        await eventually(lambda: ("", "node1") in watches.ciliumnodes.items)
        await eventually(lambda: not own.lacks_networks())


async def test_cidrs_that_the_operator_gave_are_not_replaced_by_those_of_the_last_run() -> None:
    api = FakeApi()
    api.put(NODES, node())
    given = ["10.0.9.0/24", "fd00::900/120"]
    api.put(PATH, {"metadata": {"name": "node1"}, "spec": {"ipam": {"podCIDRs": given}}})
    async with following(api) as (own, _):
        own.claim(NETWORKS)
        assert not own.lacks_networks()
        await own.publish()
    assert stored(api)["spec"]["ipam"]["podCIDRs"] == given


async def test_a_running_agent_puts_back_cidrs_that_were_taken_out() -> None:
    api = FakeApi()
    api.put(NODES, node())
    async with kept(api):
        item = stored(api)
        api.put(PATH, {**item, "spec": {**item["spec"], "ipam": {"podCIDRs": []}}})
        await eventually(lambda: stored(api)["spec"]["ipam"]["podCIDRs"] == CIDRS)
