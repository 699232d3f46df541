# SPDX-License-Identifier: Apache-2.0
"""What the leader does with changed names: queues, workers and periodic runs, wired together.

Each queue has one worker, so the logic below it needs no locks. Started once the indexes are
complete; every task ends with the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog

from cilium_operator import policies
from cilium_operator.certificates.keeper import CertificateKeeper
from cilium_operator.cluster import Cluster
from cilium_operator.config import Settings
from cilium_operator.errors import ApiError
from cilium_operator.gc.runner import IdentityCollector, collect_endpoints, delete_cilium_node
from cilium_operator.ipam.allocator import Allocator
from cilium_operator.ipam.controller import IpamController
from cilium_operator.ipam.pool import Pool
from cilium_operator.ipam.reservations import Reservations, networks_of
from cilium_operator.kube.client import ApiClient, Metadata
from cilium_operator.kube.stores import ApiNodeStore, EventRecorder
from cilium_operator.metrics import Metrics
from cilium_operator.taints import decide, newest
from cilium_operator.views import CiliumNodeView
from cilium_operator.workqueue import WorkQueue

log = structlog.get_logger("cilium_operator")
CERTIFICATES_SECONDS = 60.0  # between two looks at a few Secrets, which somebody may delete
LISTED = {"nodes": "/api/v1/nodes", "cilium_nodes": "/apis/cilium.io/v2/ciliumnodes"}


class Controllers:
    """The leader's work."""

    def __init__(
        self,
        settings: Settings,
        client: ApiClient,
        cluster: Cluster,
        metrics: Metrics,
        recorder: EventRecorder,
    ) -> None:
        """Wire everything; nothing runs before tasks()."""
        self._settings = settings
        self._client = client
        self._cluster = cluster
        self._metrics = metrics
        self._recorder = recorder
        pools = {family: Pool(pool.networks, pool.mask) for family, pool in settings.pools.items()}
        self._allocator = Allocator(pools)
        self._store = ApiNodeStore(client)
        self._ipam = IpamController(self._allocator, self._store, self._warn_node)
        self._reservations = Reservations(self._allocator)
        self._identities = IdentityCollector(client, settings, metrics)
        self._certificates = CertificateKeeper(client, settings)
        self._ipam_queue = WorkQueue("ipam", metrics)
        self._taint_queue = WorkQueue("node-taint", metrics)
        self._node_queue = WorkQueue("node-gc", metrics)
        self._policy_queue = WorkQueue("policy-validation", metrics)
        metrics.ipam(
            lambda: len(cluster.names("cilium_nodes")),
            lambda: len(self._ipam.failing),
            {family: pool.free_count for family, pool in pools.items()},
        )

    async def changed(self, index: str, body: Mapping[str, Any]) -> None:
        """Note that an object changed. Handlers of kopf await this."""
        if index == "policies":
            self._policy_queue.add(policies.key_of(body))
            return
        name: str = body["metadata"]["name"]
        if index == "agents":
            node = (body.get("spec") or {}).get("nodeName")
            if node:
                self._taint_queue.add(node)
        elif index == "nodes":
            self._ipam_queue.add(f"node/{name}")
            self._taint_queue.add(name)
            self._node_queue.add(name)
        elif index == "cilium_nodes":
            self._ipam_queue.add(f"ciliumnode/{name}")
            self._node_queue.add(name)
        else:
            self._ipam_queue.add(f"servicecidr/{name}")

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run while this process leads."""
        settings = self._settings
        certificates = CERTIFICATES_SECONDS if settings.keep_certificates else 0.0
        return [
            self._run_ipam(),
            self._after_sync(lambda: self._taint_queue.run(self._sync_taint)),
            self._after_sync(lambda: self._node_queue.run(self._sync_node)),
            self._policy_queue.run(lambda key: policies.sync(self._client, key)),
            self._every("identity-gc", settings.identity_gc_interval, self._identities.run),
            self._every("endpoint-gc", settings.endpoint_gc_interval, self._collect_endpoints),
            self._every("nodes-gc", settings.node_gc_interval, self._compare),
            self._every("hubble-certificates", certificates, self._certificates.run),
        ]

    async def _run_ipam(self) -> None:
        await self._cluster.synced.wait()
        await self._adopt()
        await self._ipam_queue.run(self._sync_ipam)

    async def _adopt(self) -> None:
        """Know all that is taken before anything is given out; the server is asked itself."""
        nodes = await self._retry("adopt pod CIDRs", self._store.read_all)
        await self._reserve("the configured service ranges", "", self._settings.service_networks)
        for name in self._cluster.names("service_cidrs"):
            await self._reserve_service(name)
        for name in self._cluster.names("nodes"):
            await self._reserve_node(name)
        self._ipam.start(nodes)
        log.info("adopted pod CIDRs", nodes=len(nodes))

    async def _sync_ipam(self, key: str) -> None:
        kind, _, name = key.partition("/")
        if kind == "servicecidr":
            freed = await self._reserve_service(name)
        else:
            freed = kind == "node" and await self._reserve_node(name)
            exists = self._cluster.node(name) is not None
            freed |= await self._ipam.sync(name, self._cluster.cilium_node(name), exists)
        if freed:
            for waiting in self._ipam.failing:
                if waiting != name:
                    self._ipam_queue.add(f"ciliumnode/{waiting}")

    async def _reserve_service(self, name: str) -> bool:
        view = self._cluster.service_cidr(name)
        source = f"ServiceCIDR {name}"
        networks = networks_of(source, view.cidrs if view else ())
        return await self._reserve(source, view.uid if view else "", networks)

    async def _reserve_node(self, name: str) -> bool:
        view = self._cluster.node(name)
        source = f"Node {name}"
        networks = networks_of(source, view.addresses if view else ())
        return await self._reserve(source, view.uid if view else "", networks)

    async def _reserve(self, source: str, uid: str, networks: Any) -> bool:
        had = source in self._reservations.sources()
        warnings = self._reservations.set(source, networks)
        for text in warnings:
            log.warning("reserved range in a pool", text=text)
            kind, _, name = source.partition(" ")
            if uid:
                await self._recorder.warn(kind, name, uid, "PodCIDRPoolOverlap", text)
        return had and source not in self._reservations.sources()

    async def _sync_taint(self, name: str) -> None:
        node = self._cluster.node(name)
        if node is None:
            return
        agent = newest(self._cluster.agents(name))
        patch = decide(node, agent, self._settings, datetime.now(UTC))
        path = f"/api/v1/nodes/{name}"
        if patch.status is not None:
            await self._client.patch(f"{path}/status", patch.status, strategic=True)
        if patch.node is not None:
            await self._patch_taints(path, patch.node)

    async def _patch_taints(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self._client.patch(path, body)
            log.info("changed taints", node=path.rpartition("/")[2])
        except ApiError as error:
            # A conflict is followed by the event that caused it, which brings the node back here.
            if not (error.conflict or error.not_found):
                raise

    async def _sync_node(self, name: str) -> None:
        node = self._cluster.cilium_node(name)
        if node is None or self._cluster.node(name) is not None:
            return
        await delete_cilium_node(self._client, name, node.uid)

    async def _collect_endpoints(self) -> None:
        await collect_endpoints(self._client, self._metrics)

    async def _compare(self) -> None:
        await self._cluster.synced.wait()
        for index, path in LISTED.items():
            before = self._cluster.uids(index)
            alive = {
                item.metadata.uid
                async for item in self._client.items(path, Metadata, metadata_only=True)
            }
            self._cluster.compare(index, before, alive)
        for name in {*self._allocator.nodes(), *self._cluster.names("cilium_nodes")}:
            self._ipam_queue.add(f"node/{name}")
            self._node_queue.add(name)

    async def _warn_node(self, node: CiliumNodeView, reason: str, message: str) -> None:
        await self._recorder.warn("CiliumNode", node.name, node.uid, reason, message)

    async def _after_sync(self, start: Callable[[], Awaitable[None]]) -> None:
        await self._cluster.synced.wait()
        await start()

    async def _every(self, group: str, interval: float, run: Callable[[], Awaitable[None]]) -> None:
        """Run now and after each interval (s); an interval of 0 turns it off."""
        while interval > 0:
            failed = False
            try:
                await run()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                failed = True
                log.warning("run failed", controller=group, error=str(error))
            self._metrics.run(group, failed)
            await asyncio.sleep(interval)
        await asyncio.Event().wait()

    async def _retry(
        self, what: str, call: Callable[[], Awaitable[list[CiliumNodeView]]]
    ) -> list[CiliumNodeView]:
        while True:
            try:
                return await call()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("will try again", action=what, error=str(error))
                await asyncio.sleep(1.0)
