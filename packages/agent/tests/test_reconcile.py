# SPDX-License-Identifier: Apache-2.0
"""Nodes and endpoints come and go: tunnels, routes and ipcache follow, and only then delete."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

import pytest
from fake_api import FakeApi, eventually, serving
from structlog.testing import capture_logs

from cilium_agent.datapath.errors import KernelError
from cilium_agent.errors import AgentError, StartOver
from cilium_agent.host.errors import HostError
from cilium_agent.ipcache.writer import IpcacheWriter, key_of
from cilium_agent.k8s.objects import (
    Meta,
    NamespaceObject,
    NodeAddressObject,
    NodeObject,
    NodeStatus,
    PodObject,
    ServiceObject,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SliceObject,
)
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import Endpoint, NodeAddressing, Pod, RemoteNode
from cilium_agent.reconcile import Reconciler
from cilium_agent.relabel import Relabeller
from cilium_agent.services.balancer import Balancer
from cilium_agent.services.desired import SERVICE_NAME
from cilium_agent.state import Outcome
from cilium_core.addresses import pack_network
from cilium_core.crds import models
from cilium_core.layouts.datapath import IpcacheKey, TunnelInfo

ADDRESSING = NodeAddressing(
    node_name="node1",
    node_v4=IPv4Address("172.30.0.11"),
    node_v6=None,
    pod_v4=IPv4Network("10.0.0.0/24"),
    pod_v6=None,
    router_v4=IPv4Address("10.0.0.1"),
    router_v6=None,
)


ENDPOINT = Endpoint(
    endpoint_id=7,
    container_id="c1",
    interface="eth0",
    netns="/ns",
    pod_namespace="shop",
    pod_name="web",
    pod_uid="u",
    ipv4=IPv4Address("10.0.0.7"),
    ipv6=None,
    host_interface="lxc7",
    host_ifindex=7,
    mac=bytes(6),
    node_mac=bytes(6),
)


class Table:
    """Rows in memory; with `room` given a full map takes what fits and refuses the rest."""

    def __init__(self, rows: Mapping[Any, Any] | None = None) -> None:
        self.rows = dict(rows or {})
        self.room: int | None = None

    @property
    def current(self) -> Mapping[Any, Any]:
        return self.rows

    def upsert(self, rows: Mapping[Any, Any]) -> None:
        for key, row in rows.items():
            if self.room is not None and key not in self.rows and len(self.rows) >= self.room:
                raise KernelError("map_update", errno.E2BIG, "no room")
            self.rows[key] = row

    def delete(self, keys: Iterable[Any]) -> None:
        for key in list(keys):
            self.rows.pop(key, None)


class Rig:
    """A reconciler over tables in memory and informers fed by hand."""

    def __init__(self, watches: Watches) -> None:
        self.watches = watches
        stale = IpcacheKey(*pack_network("10.9.0.0/24"))
        self.tunnels = Table({stale: TunnelInfo(bytes(16), 3)})
        self.ipcache = Table()
        self.slots = Table()
        self.routes: list[list[str]] = []
        self.refusal: Exception | None = None
        self.balancer = Balancer(Table(), self.slots, Table(), "node1")
        self.outcomes: dict[str, Outcome] = {}
        self.reconciler = Reconciler(
            watches,
            IpcacheWriter(self.ipcache, lambda _raw: False),
            self.balancer,
            self.tunnels,
            "node1",
            lambda name: self.outcomes.setdefault(name, Outcome()),
        )
        self.reconciler.attach(ADDRESSING, self.sync_routes)

    async def sync_routes(self, remote: Mapping[str, RemoteNode]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.routes.append(sorted(remote))

    def failing(self) -> list[str]:
        return sorted(name for name, one in self.outcomes.items() if one.consecutive_failures)

    def identity(self, prefix: str) -> int | None:
        row = self.ipcache.rows.get(key_of(ip_network(prefix)))
        return row.identity if row is not None else None


def node(name: str, ip: str, *cidrs: str) -> models.CiliumNode:
    spec = models.CiliumNodeSpec(
        addresses=[models.NodeAddress(type="InternalIP", ip=ip)],
        ipam=models.NodeIPAMSpec(pod_cidrs=list(cidrs)),
    )
    return models.CiliumNode(metadata=models.ObjectMeta(name=name), spec=spec)


def endpoint(name: str, address: str, on: str) -> models.CiliumEndpoint:
    networking = models.EndpointNetworking(addressing=[models.AddressPair(ipv4=address)], node=on)
    status = models.CiliumEndpointStatus(
        identity=models.EndpointIdentity(id=400), networking=networking
    )
    return models.CiliumEndpoint(
        metadata=models.ObjectMeta(name=name, namespace="shop"), status=status
    )


async def test_node_and_pod_come_and_go() -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        rig.watches.ciliumnodes._set(node("node2", "172.30.0.12", "10.0.1.0/24"))
        rig.watches.ciliumendpoints._set(endpoint("web", "10.0.1.5", "172.30.0.12"))
        rig.watches.ciliumendpoints._set(endpoint("mine", "10.0.0.5", "172.30.0.11"))
        await rig.reconciler.flush()
        assert rig.identity("172.30.0.12/32") == 6
        assert rig.identity("10.0.1.5/32") == 400
        assert rig.identity("10.0.0.5/32") is None, "own pods are the endpoint side's"
        assert rig.identity("0.0.0.0/0") == 2
        assert len(rig.tunnels.rows) == 2, "the stale row stays until deletions are allowed"
        assert rig.routes[-1] == ["node2"]

        await rig.reconciler.allow_deletions()
        assert [info.node_id for info in rig.tunnels.rows.values()] == [4]
        rig.watches.ciliumnodes._drop(("", "node2"))
        rig.watches.ciliumendpoints._drop(("shop", "web"))
        await rig.reconciler.flush()
        assert rig.identity("172.30.0.12/32") is None
        assert rig.identity("10.0.1.5/32") is None
        assert not rig.tunnels.rows
        assert rig.routes[-1] == []


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(rig.reconciler.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("listed", [["10.0.7.0/24"], ["all", "10.0.7.0/24"]])
async def test_other_pod_cidrs_for_this_node_start_the_agent_over(listed: list[str]) -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        async with running(rig) as task:
            rig.watches.ciliumnodes._set(node("node1", "172.30.0.11", "10.0.0.0/24"))
            rig.watches.ciliumnodes._set(node("node1", "172.30.0.11", *listed))
            with pytest.raises(StartOver, match=r"10\.0\.7\.0"):
                await asyncio.wait_for(task, 5)
        assert not rig.watches.ciliumnodes.faulty, "a handler is no place to end the process"


@pytest.mark.parametrize("listed", [[], ["10.0.0.1/24"], ["fd00::/120"], ["10.0.0.0/24", "x"]])
async def test_a_pod_cidr_that_is_missing_or_no_cidr_ends_nothing(listed: list[str]) -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        rig.watches.ciliumnodes._set(node("node1", "172.30.0.11", *listed))
        rig.watches.ciliumnodes._drop(("", "node1"))
        await rig.reconciler.flush()


async def test_another_address_of_this_node_starts_the_agent_over() -> None:
    def own(*addresses: str) -> NodeObject:
        listed = [NodeAddressObject(type="InternalIP", address=text) for text in addresses]
        return NodeObject(Meta(name="node1"), NodeStatus(addresses=listed))

    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        for addresses in (["172.30.0.11"], ["172.30.0.99", "172.30.0.11"], [], ["fd00::1"]):
            rig.watches.node._set(own(*addresses))
            await rig.reconciler.flush()
        rig.watches.node._set(own("172.30.0.99"))
        with pytest.raises(StartOver, match=r"172\.30\.0\.11 to 172\.30\.0\.99"):
            await rig.reconciler.flush()


async def test_malformed_objects_are_left_out_and_all_else_goes_on() -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        watches = rig.watches
        bad = endpoint("bad", "10.0.1.256", "172.30.0.12")
        huge = endpoint("huge", "10.0.1.7", "172.30.0.12")
        huge.status.identity = models.EndpointIdentity(id=1 << 40)
        host = endpoint("host", "10.0.1.8", "172.30.0.12")
        host.status.identity = models.EndpointIdentity(id=1)
        servers = SliceObject(
            Meta(name="kubernetes", namespace="default", labels={SERVICE_NAME: "kubernetes"}),
            "IPv4",
            [SliceEndpoint(addresses=["172.30.0.300"]), SliceEndpoint(addresses=["172.30.0.13"])],
        )
        with capture_logs() as logs:
            watches.ciliumnodes._set(node("node2", "172.30.0.12", "10.0.1.1/24"))
            watches.ciliumnodes._set(node("node3", "172.30.0.13", "10.0.3.0/24"))
            for item in (bad, huge, host, endpoint("lost", "10.0.1.9", "node2")):
                watches.ciliumendpoints._set(item)
            watches.ciliumendpoints._set(endpoint("web", "10.0.3.5", "172.30.0.13"))
            watches.slices._set(servers)
            for _ in range(3):
                rig.reconciler._want("ipcache", "tunnels", "node-routes")
                await rig.reconciler.flush()
        told = sorted(
            (entry["object"], entry["error"].partition(":")[0])
            for entry in logs
            if "object" in entry
        )
        assert told == [
            ("default/kubernetes", "endpoints[0].addresses"),
            ("node2", "spec.ipam.podCIDRs[0]"),
            ("shop/bad", "status.networking.addressing[0].ipv4"),
            ("shop/host", "status.identity.id"),
            ("shop/huge", "status.identity.id"),
            ("shop/lost", "status.networking.node"),
        ], "once for each version"
        assert rig.identity("10.0.3.5/32") == 400
        assert rig.identity("172.30.0.12/32") == 6, "what is right of a node counts"
        assert rig.identity("172.30.0.13/32") == 7
        assert rig.routes[-1] == ["node3"]
        assert not rig.failing()
        watches.ciliumnodes._set(node("node2", "172.30.0.12", "10.0.1.0/24"))
        await rig.reconciler.flush()
        assert rig.routes[-1] == ["node2", "node3"]


@pytest.mark.parametrize("node_first", [True, False])
async def test_only_api_servers_on_nodes_have_their_number(node_first: bool) -> None:
    """The others are prefixes of their own: one number for all would mix up their addresses."""
    servers = SliceObject(
        Meta(name="kubernetes", namespace="default", labels={SERVICE_NAME: "kubernetes"}),
        "IPv4",
        [SliceEndpoint(addresses=["172.30.0.12", "192.0.2.1"])],
    )
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        await rig.reconciler.allow_deletions()
        changes = [
            lambda: rig.watches.slices._set(servers),
            lambda: rig.watches.ciliumnodes._set(node("node2", "172.30.0.12")),
        ]
        for change in reversed(changes) if node_first else changes:
            change()
        await rig.reconciler.flush()
        assert rig.identity("172.30.0.12/32") == 7
        assert rig.identity("192.0.2.1/32") is None
        rig.watches.ciliumnodes._drop(("", "node2"))
        await rig.reconciler.flush()
        assert rig.identity("172.30.0.12/32") is None


async def test_a_full_map_fails_alone_and_is_tried_again() -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        rig.ipcache.room = 2
        watches = rig.watches
        for number in range(1, 5):
            watches.ciliumendpoints._set(endpoint(f"p{number}", f"10.0.1.{number}", "172.30.0.12"))
        watches.ciliumnodes._set(node("node2", "172.30.0.12", "10.0.1.0/24"))
        await rig.reconciler.flush()
        await rig.reconciler.allow_deletions()  # the start goes on, and CNI opens
        assert rig.failing() == ["ipcache"]
        assert "errno 7" in rig.outcomes["ipcache"].last_error
        assert rig.routes[-1] == ["node2"], "other tables are written"
        assert len(rig.tunnels.rows) == 1
        async with running(rig) as task:
            failures = rig.outcomes["ipcache"].failures
            await eventually(lambda: rig.outcomes["ipcache"].failures > failures)
            rig.ipcache.room = 100
            await eventually(lambda: not rig.failing())
            assert rig.identity("10.0.1.4/32") == 400
            assert not task.done()


async def test_what_goes_makes_room_in_a_full_map() -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        watches = rig.watches
        for number in range(1, 5):
            watches.ciliumendpoints._set(endpoint(f"p{number}", f"10.0.1.{number}", "172.30.0.12"))
        await rig.reconciler.allow_deletions()
        rig.ipcache.room = len(rig.ipcache.rows)
        async with running(rig):
            watches.ciliumendpoints._set(endpoint("new", "10.0.1.9", "172.30.0.12"))
            await eventually(lambda: rig.failing() == ["ipcache"])
            watches.ciliumendpoints._drop(("shop", "p1"))
            await eventually(lambda: rig.identity("10.0.1.9/32") == 400)
            assert not rig.failing()


@pytest.mark.parametrize("error", [HostError("refused"), KeyError("a mistake")])
async def test_routes_that_fail_are_told_and_written_later(error: Exception) -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        rig.refusal = error
        with capture_logs() as logs:
            async with running(rig) as task:
                rig.watches.ciliumnodes._set(node("node2", "172.30.0.12", "10.0.1.0/24"))
                await eventually(lambda: rig.outcomes["node-routes"].failures >= 2)
                assert rig.failing() == ["node-routes"]
                assert len(rig.tunnels.rows) == 2
                rig.refusal = None
                await eventually(lambda: rig.routes == [["node2"]])
                assert not task.done()
        (told,) = (entry for entry in logs if "step" in entry)
        assert (told["exc_info"] is None) is isinstance(error, HostError), "mistakes have a trace"


async def test_endpoints_of_an_identity_that_others_took_ask_again() -> None:
    asked: list[str] = []

    class Endpoints:
        async def labels_changed(self, pod: Pod) -> None:
            if not asked:
                asked.append("refused")
                raise KernelError("map_update", errno.ENOSPC, "no room")
            asked.append(pod.name)

        def all(self) -> list[Endpoint]:
            return [
                replace(ENDPOINT, pod_name="one", pod_uid="u-one", identity=300),
                replace(ENDPOINT, pod_name="two", pod_uid="u-two", identity=301),
                replace(ENDPOINT, pod_name="gone", pod_uid="u-gone", identity=300),
                replace(ENDPOINT, pod_name="new", pod_uid="u-before", identity=300),
            ]

    async with serving(FakeApi()) as client:
        watches = Watches.of(client, "node1")
        for name in ("one", "two", "new"):
            meta = Meta(name=name, namespace="shop", uid=f"u-{name}")
            watches.pods._set(PodObject(metadata=meta))
        relabeller = Relabeller(watches, Endpoints())
        task = asyncio.create_task(relabeller.run())
        relabeller.renew(300)
        await eventually(lambda: asked == ["refused", "one"])
        assert not task.done(), "a full map ends no worker"
        task.cancel()


async def test_labels_of_pods_and_namespaces_reach_endpoints() -> None:
    told: list[str] = []
    failures = [True]

    class Endpoints:
        async def labels_changed(self, pod: Pod) -> None:
            if failures.pop() if failures else False:
                raise AgentError("the API server is away")
            told.append(f"{pod.name} {pod.labels}")

    def pod(**labels: str) -> PodObject:
        return PodObject(metadata=Meta(name="web", namespace="shop", uid="u", labels=labels))

    async with serving(FakeApi()) as client:
        watches = Watches.of(client, "node1")
        watches.namespaces._set(NamespaceObject(metadata=Meta(name="shop")))
        relabeller = Relabeller(watches, Endpoints())
        relabeller.attach()
        task = asyncio.create_task(relabeller.run())
        watches.pods._set(pod(app="a"))
        await eventually(lambda: told == ["web {'app': 'a'}"])  # after one failure
        watches.pods._set(pod(app="b"))
        await eventually(lambda: told[-1] == "web {'app': 'b'}")
        labelled = Meta(name="shop", labels={"team": "x"})
        watches.namespaces._set(NamespaceObject(metadata=labelled))
        await eventually(lambda: len(told) == 3)
        task.cancel()


async def test_services_wait_for_their_slices() -> None:
    """After a restart a service without its slices would look empty and go dark."""
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        flushed: list[bool] = []
        rig.balancer.flush = lambda: flushed.append(True)  # type: ignore[method-assign]
        spec = ServiceSpec(cluster_ips=["10.96.0.9"], ports=[ServicePort(port=80)])
        rig.watches.services._set(ServiceObject(Meta(name="web", namespace="shop"), spec))
        assert rig.balancer.dirty
        rig.watches.services.synced.set()
        await rig.reconciler.flush()
        assert flushed == []
        rig.watches.slices.synced.set()
        await rig.reconciler.flush()
        assert flushed == [True]
