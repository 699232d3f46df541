# SPDX-License-Identifier: Apache-2.0
"""Nodes and endpoints come and go: tunnels, routes and ipcache follow, and only then delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

import pytest
from fake_api import FakeApi, serving

from cilium_agent.errors import AgentError
from cilium_agent.ipcache.writer import IpcacheWriter, key_of
from cilium_agent.k8s.objects import Meta, ServiceObject, ServicePort, ServiceSpec
from cilium_agent.k8s.watches import Watches
from cilium_agent.model import NodeAddressing, RemoteNode
from cilium_agent.reconcile import Reconciler
from cilium_agent.relabel import Relabeller
from cilium_agent.services.balancer import Balancer
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


class Table:
    def __init__(self, rows: Mapping[Any, Any] | None = None) -> None:
        self.rows = dict(rows or {})

    @property
    def current(self) -> Mapping[Any, Any]:
        return self.rows

    def upsert(self, rows: Mapping[Any, Any]) -> None:
        self.rows.update(rows)

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
        self.routes: list[list[str]] = []
        self.balancer = Balancer(Table(), Table(), Table(), "node1")
        self.reconciler = Reconciler(
            watches,
            IpcacheWriter(self.ipcache, lambda _raw: False),
            self.balancer,
            self.tunnels,
            "node1",
        )
        self.reconciler.attach(ADDRESSING, self.sync_routes)

    async def sync_routes(self, remote: Mapping[str, RemoteNode]) -> None:
        self.routes.append(sorted(remote))

    def identity(self, prefix: str) -> int | None:
        row = self.ipcache.rows.get(key_of(ip_network(prefix)))
        return row.identity if row is not None else None


def node(name: str, ip: str, cidr: str) -> models.CiliumNode:
    spec = models.CiliumNodeSpec(
        addresses=[models.NodeAddress(type="InternalIP", ip=ip)],
        ipam=models.NodeIPAMSpec(pod_cidrs=[cidr]),
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


async def test_other_pod_cidrs_for_this_node_start_the_agent_over() -> None:
    async with serving(FakeApi()) as client:
        rig = Rig(Watches.of(client, "node1"))
        rig.watches.ciliumnodes._set(node("node1", "172.30.0.11", "10.0.0.0/24"))
        with pytest.raises(AgentError, match=r"10\.0\.7\.0"):
            rig.watches.ciliumnodes._set(node("node1", "172.30.0.11", "10.0.7.0/24"))


async def test_labels_of_pods_and_namespaces_reach_endpoints() -> None:
    import asyncio

    from fake_api import eventually

    from cilium_agent.k8s.objects import Meta, NamespaceObject, PodObject
    from cilium_agent.model import Pod

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
