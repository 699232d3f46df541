# SPDX-License-Identifier: Apache-2.0
"""The agent's life: what starts after what, what runs side by side, how it ends.

Maps, programs and links stay in the kernel whatever happens here: traffic goes on without the
agent. Order of the start: watches → this node's pod CIDRs → devices and programs → endpoints
restored → tables written → only then stale rows removed, CNI answered and the node announced.
Everything runs in one task group on one event loop; an unexpected exception ends the process,
the kubelet starts it again and it adopts what the kernel holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import aiohttp
import msgspec
import structlog

from cilium_agent import garbage
from cilium_agent.api.app import build as build_api
from cilium_agent.api.server import serve_api, serve_health, serve_metrics
from cilium_agent.cni.server import CniServer
from cilium_agent.config import Settings
from cilium_agent.datapath import conntrack
from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.endpoints import KernelEndpoints
from cilium_agent.datapath.enforcement import PolicyMaps
from cilium_agent.datapath.programs import ensure_programs
from cilium_agent.datapath.reporting import ALL_EVENTS, report_events
from cilium_agent.datapath.store import MapStore
from cilium_agent.endpoints.links import LinkSettings, PodLinks
from cilium_agent.endpoints.manager import EndpointManager
from cilium_agent.endpoints.restore import restore
from cilium_agent.fqdn.running import Upkeep
from cilium_agent.fqdn.service import NameServer
from cilium_agent.host import cni_files
from cilium_agent.host.netns import on_node
from cilium_agent.host.network import HostNetwork, HostState, router_addresses
from cilium_agent.identity.allocator import Allocator
from cilium_agent.ipam import remembered
from cilium_agent.ipam.pool import NodePool
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.k8s.backoff import Backoff
from cilium_agent.k8s.client import ApiClient
from cilium_agent.k8s.pods import PodReader
from cilium_agent.k8s.publisher import EndpointPublisher
from cilium_agent.k8s.watches import Watches
from cilium_agent.metrics.collector import Renderer
from cilium_agent.model import DatapathSettings, NodeAddressing
from cilium_agent.nodes.local import cgroup2_root, own_addresses
from cilium_agent.nodes.own import OwnNode, internal_addresses, pod_networks
from cilium_agent.nodestate.service import serve as serve_node_state
from cilium_agent.observer import watch as watch_observer
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.proxies.health import watch as watch_proxies
from cilium_agent.proxies.service import serve as serve_proxies
from cilium_agent.reconcile import Reconciler
from cilium_agent.relabel import Relabeller
from cilium_agent.services.balancer import Balancer
from cilium_agent.state import AgentState, Outcome
from cilium_agent.storage.store import EndpointStore
from cilium_agent.telling import make_policing, make_teller, tell_tables
from cilium_core.addresses import unpack_address
from cilium_core.errors import CiliumError
from cilium_core.labels import LabelFilter
from cilium_core.layouts.datapath import EndpointFlag, EndpointKey
from cilium_core.process import access

log = structlog.get_logger(__name__)

REPAIR_SECONDS = 30.0
VERSION_SECONDS = 60.0


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class Agent:
    """One run of the agent. `run` returns only by an exception or its cancellation."""

    def __init__(self, settings: Settings) -> None:
        """Open the API client and make the watches; nothing runs yet. Needs a running loop."""
        self.settings = settings
        self.state = AgentState(
            settings=settings, features_not_available=settings.features_not_available
        )
        self._client = ApiClient(_access(settings))
        self._watches = Watches.of(self._client, settings.node_name)
        self._tasks = asyncio.TaskGroup()
        self._exits = AsyncExitStack()
        self._allocator = Allocator(self._client)
        self._own = OwnNode(
            self._client, settings.node_name, self._watches.node, self._watches.ciliumnodes
        )
        self._host = HostNetwork(
            run_dir=settings.run_dir,
            native=settings.native_routing,
            masquerade_ipv4=settings.masquerade_ipv4,
            masquerade_ipv6=settings.masquerade_ipv6,
            mtu=settings.mtu,
        )
        self._attached: HostState | None = None

    async def run(self) -> None:
        """Start, serve until cancelled, close sockets; the kernel keeps working."""
        async with self._exits, self._tasks:
            self._exits.push_async_callback(self._client.close)
            await self._serve_state()
            self._start_watches()
            await self._start()
            await asyncio.Event().wait()

    async def _serve_state(self) -> None:
        state = self.state
        state.client = self._client
        state.informers = {informer.scope: informer for informer in self._watches.all()}
        api = serve_api(build_api(state), self.settings.run_dir / "cilium.sock")
        await self._exits.enter_async_context(api)
        health = serve_health(self.settings.health_address, self._health)
        await self._exits.enter_async_context(health)
        if self.settings.prometheus_address is not None:
            metrics = serve_metrics(self.settings.prometheus_address, Renderer(state).render)
            await self._exits.enter_async_context(metrics)

    def _health(self) -> tuple[bool, str]:
        if self.state.ready:
            return True, "OK"
        return False, f"starting: waiting for {self.state.waiting_for}"

    def _start_watches(self) -> None:
        self._allocator.attach(self._watches.ciliumidentities)
        self.state.allocator = self._allocator
        for informer in self._watches.all():
            self._tasks.create_task(informer.run(), name=f"watch {informer.scope}")
        self._repeat("kubernetes-version", VERSION_SECONDS, self._read_version)

    async def _start(self) -> None:
        state, settings = self.state, self.settings
        store = MapStore(settings.bpf_root / "maps", settings.map_sizes)
        self._exits.callback(store.close)
        state.store = store
        ipcache = IpcacheWriter(store.ipcache, lambda raw: _is_pod(store, raw))
        policing = make_policing(settings, store, ipcache, self._watches)
        state.keeper, state.repository = policing.keeper, policing.repository
        state.policy_sizes = policing.maps.kernel.sizes
        state.rule_sets, state.names = policing.rule_sets, policing.names
        keeper = policing.keeper
        self._teller = make_teller(settings, keeper, self._watches)
        balancer = Balancer(store.services, store.slots, store.backends, settings.node_name)
        reconciler = Reconciler(
            self._watches,
            ipcache,
            balancer,
            store.tunnels,
            settings.node_name,
            lambda name: state.controllers.setdefault(name, Outcome()),
        )
        state.ipcache, state.balancer, state.remote_nodes = ipcache, balancer, reconciler.remote
        tell_tables(self._teller, ipcache, balancer, store)
        told = serve_node_state(settings.run_dir / "nodestate.sock", self._teller.state)
        await self._exits.enter_async_context(told)
        followers = state.proxies.followers
        proxied = serve_proxies(settings.run_dir / "proxies.sock", policing.rule_sets, followers)
        await self._exits.enter_async_context(proxied)
        name_server = NameServer(policing.names)
        named = name_server.serve(settings.run_dir / "names.sock")
        await self._exits.enter_async_context(named)
        self._exits.callback(policing.journal.close)
        report_events(store, ALL_EVENTS if settings.enable_hubble else ())

        addressing = await self._addressing()
        state.addressing = addressing
        state.waiting_for = "devices and eBPF programs"
        self._attached = await self._host.setup(addressing)
        state.underlay = self._attached.underlay.name
        kernel = KernelEndpoints(store, await self._load_programs(self._attached), keeper.assigned)
        reconciler.attach(addressing, self._host.sync_routes)
        await self._refresh_host_addresses(kernel, reconciler)

        manager, cni = await self._endpoints(addressing, kernel, keeper)
        policing.names.endpoint_at = manager.table.at
        policing.names.retain(endpoint.endpoint_id for endpoint in manager.all())
        await self._write_tables(reconciler, kernel, keeper)
        name_server.open()
        self._teller.state.open()
        assert state.publisher is not None
        state.publisher.withdraw_leftovers(
            self._watches.ciliumendpoints.items.values(), manager.all()
        )
        await self._open_node(cni)
        self._start_workers(reconciler, kernel, manager, policing.maps)
        upkeep = Upkeep(
            policing.names,
            policing.journal,
            partial(conntrack.opened, store.connections),
            manager.all,
        )
        job = upkeep.run(state.controllers.setdefault("dns-garbage-collector", Outcome()))
        self._tasks.create_task(job, name="names")
        garbage.settle()
        state.bootstrap_seconds = time.monotonic() - state.started
        state.ready = True
        log.info("agent ready", seconds=round(state.bootstrap_seconds, 2))

    async def _addressing(self) -> NodeAddressing:
        """Announce this node and wait until it has pod CIDRs: its last ones, or the operator's."""
        state, settings = self.state, self.settings
        state.waiting_for = "the Node from the API server"
        await self._watches.node.synced.wait()
        node = self._own.node()
        state.waiting_for = "CiliumNode to be writable (CRDs come from the operator)"
        await self._watches.ciliumnodes.synced.wait()
        self._own.claim(remembered.read(settings.run_dir))
        if self._own.lacks_networks():
            await self._own.publish()
        state.waiting_for = "pod CIDRs from the operator (CiliumNode.spec.ipam.podCIDRs)"
        networks = await self._pod_networks()
        remembered.write(settings.run_dir, networks)
        assert state.store is not None
        taken = {
            unpack_address(key.addr)
            for key, row in state.store.endpoints.current.items()
            if not row.flags & EndpointFlag.HOST
        }
        router_v4, router_v6 = await router_addresses(*networks, taken=taken)
        assert router_v4 is None or isinstance(router_v4, IPv4Address)
        assert router_v6 is None or isinstance(router_v6, IPv6Address)
        node_v4, node_v6 = internal_addresses(node)
        self._own.announce((router_v4, router_v6), networks)
        self._tasks.create_task(self._own.run(), name="own CiliumNode")
        return NodeAddressing(
            node_name=settings.node_name,
            node_v4=node_v4,
            node_v6=node_v6,
            pod_v4=networks[0],
            pod_v6=networks[1],
            router_v4=router_v4,
            router_v6=router_v6,
        )

    async def _pod_networks(self) -> tuple[IPv4Network | None, IPv6Network | None]:
        changed = asyncio.Event()
        self._watches.ciliumnodes.on_change(lambda _old, _new: changed.set())
        while True:
            changed.clear()
            node = self._own.cilium_node()
            cidrs = node.spec.ipam.pod_cidrs if node is not None else []
            found = pod_networks(
                cidrs, ipv4=self.settings.enable_ipv4, ipv6=self.settings.enable_ipv6
            )
            if found is not None:
                return found
            if node is not None and node.status.ipam.operator_status.error:
                log.warning("no pod CIDR", error=node.status.ipam.operator_status.error)
            await changed.wait()

    async def _load_programs(self, host: HostState) -> Attachments:
        """Have the programs for these devices in force on the node's own hooks."""
        settings = self.settings
        wanted = DatapathSettings(
            host_ifindex=host.host_ifindex,
            vxlan_ifindex=host.vxlan_ifindex,
            host_mac=host.host_mac,
            node_netns_cookie=host.netns_cookie,
            mtu=host.device_mtu,
            enable_ipv4=settings.enable_ipv4,
            enable_ipv6=settings.enable_ipv6,
        )
        programs = await ensure_programs(wanted, settings.bpf_root)
        self.state.programs_current = programs.current
        attachments = Attachments(programs, settings.bpf_root)
        attachments.attach_host(host.host_ifindex)
        attachments.attach_overlay(host.vxlan_ifindex)
        await on_node("choose proxies' sockets", lambda _: attachments.attach_netns())
        attachments.attach_cgroup(cgroup2_root(settings.cgroup_root))
        return attachments

    async def _endpoints(
        self, addressing: NodeAddressing, kernel: KernelEndpoints, keeper: PolicyKeeper
    ) -> tuple[EndpointManager, CniServer]:
        """Restore this node's endpoints; CNI calls wait in the socket's backlog meanwhile."""
        state, settings = self.state, self.settings
        state.waiting_for = "endpoints to be restored"
        assert state.store is not None
        assert self._attached is not None
        file = await EndpointStore.open(settings.run_dir / "state" / "endpoints.db")
        self._exits.push_async_callback(file.close)
        state.pool = NodePool.of(addressing)
        state.publisher = EndpointPublisher(
            self._client, str(addressing.node_v4 or addressing.node_v6)
        )
        self._teller.objects = state.publisher
        links = LinkSettings(
            device_mtu=self._attached.device_mtu,
            route_mtu=self._attached.tunnel_mtu,
            router_v4=addressing.router_v4,
            router_v6=addressing.router_v6,
        )
        labels = LabelFilter(settings.labels)
        manager = EndpointManager(
            node_name=settings.node_name,
            store=file,
            pool=state.pool,
            links=PodLinks(links),
            pods=PodReader(self._client, self._watches.namespaces, labels, settings.cluster_name),
            identities=self._allocator,
            objects=self._teller,
            datapath=kernel,
            policy=keeper,
        )
        state.endpoints = manager
        self._allocator.in_use = lambda number: any(
            endpoint.identity == number for endpoint in manager.all()
        )
        cni = CniServer(settings.run_dir, manager)
        await cni.listen()
        self._exits.push_async_callback(_close_soon, cni)
        await restore(manager, dict(state.store.endpoints.current))
        await self._host.reach(state.pool.outside)
        state.publisher.attach(self._watches.ciliumendpoints)
        return manager, cni

    async def _write_tables(
        self, reconciler: Reconciler, kernel: KernelEndpoints, keeper: PolicyKeeper
    ) -> None:
        """Write; delete only when every list is in, and prefixes only after policy names them."""
        await reconciler.flush()
        for informer in self._watches.all():
            self.state.waiting_for = f"the list of {informer.scope} objects"
            await informer.synced.wait()
        assert self.state.endpoints is not None
        await self._allocator.reclaim({e.identity: e.labels for e in self.state.endpoints.all()})
        await reconciler.flush()
        assert self.state.repository is not None
        self.state.repository.listed()
        try:
            keeper.start(self._allocator.labels_of)
        except CiliumError as error:  # a map is full: what the kernel holds stays in force
            log.error("policy not written; it is tried again", error=str(error))
            keeper.changed.set()
        for endpoint_id in kernel.point():
            keeper.settled(endpoint_id)
        await reconciler.allow_deletions()
        keeper.changed.set()  # prefixes that only an earlier process wanted may go

    async def _open_node(self, cni: CniServer) -> None:
        self.state.waiting_for = "the CNI socket"
        await cni.serve()
        await self._write_cni_conf()

    def _start_workers(
        self,
        reconciler: Reconciler,
        kernel: KernelEndpoints,
        manager: EndpointManager,
        policy_maps: PolicyMaps,
    ) -> None:
        assert self.state.publisher is not None
        relabeller = Relabeller(self._watches, manager)
        relabeller.attach()
        self._allocator.lost = relabeller.renew
        spawn = self._tasks.create_task
        spawn(reconciler.run(), name="tables")
        spawn(self._keep_policy(), name="policy")
        spawn(
            watch_observer(self.state.observer, self.settings.run_dir / "hubble.sock"),
            name="hubble",
        )
        assert self.state.rule_sets is not None
        spawn(
            watch_proxies(
                self.state.proxies,
                self.state.rule_sets,
                self.settings.run_dir,
                lambda name: self.state.controllers.setdefault(name, Outcome()),
            ),
            name="proxies",
        )
        spawn(self._collect(policy_maps), name="conntrack")
        spawn(self.state.publisher.run(), name="CiliumEndpoints")
        spawn(relabeller.run(), name="identities of pods")
        self._repeat("host-network", REPAIR_SECONDS, lambda: self._repair(kernel))
        self._repeat("cni-config", REPAIR_SECONDS, self._write_cni_conf)
        self._repeat(
            "host-addresses",
            REPAIR_SECONDS,
            lambda: self._refresh_host_addresses(kernel, reconciler),
        )

    async def _keep_policy(self) -> None:
        assert self.state.keeper is not None
        outcome = self.state.controllers.setdefault("policy", Outcome())

        def report(error: Exception | None) -> None:
            if error is None:
                outcome.succeeded()
            else:
                outcome.failed(error)

        await self.state.keeper.run(report)

    async def _collect(self, policy_maps: PolicyMaps) -> None:
        """Free what is over: connections past their time, and rows' overflow lists."""
        assert self.state.store is not None
        interval = conntrack.FIRST_INTERVAL
        outcome = self.state.controllers.setdefault("conntrack-gc", Outcome())
        while True:
            await asyncio.sleep(interval)
            try:
                done = await asyncio.to_thread(conntrack.collect, self.state.store.connections)
                policy_maps.kernel.collect()
            except CiliumError as error:
                outcome.failed(error)
            else:
                interval = conntrack.next_interval(interval, done)
                outcome.succeeded()

    async def _repair(self, kernel: KernelEndpoints) -> None:
        before = self._attached
        await self._host.repair()
        after = self._host.state
        if after is not None and before is not None and after != before:
            log.warning("the node's devices changed; programs are loaded for the new ones")
            kernel.attachments = await self._load_programs(after)
            self._attached = after

    async def _refresh_host_addresses(
        self, kernel: KernelEndpoints, reconciler: Reconciler
    ) -> None:
        found = await on_node("read the node's addresses", own_addresses)
        kernel.replace_host_addresses(found)
        reconciler.set_host_addresses(found)

    async def _write_cni_conf(self) -> None:
        folder = self.settings.cni_conf_dir
        await asyncio.to_thread(cni_files.write_conf, folder, self.settings.cni_exclusive)
        self.state.cni_conf = folder / cni_files.CONF_NAME

    async def _read_version(self) -> None:
        found = await self._client.get("/version", _Version)
        self.state.kubernetes_version = found.git_version

    def _repeat(self, name: str, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        """Run a job now and then; its failures show as a controller's, with backoff."""
        outcome = self.state.controllers.setdefault(name, Outcome())

        async def loop() -> None:
            backoff = Backoff(first=1.0, limit=seconds)
            while True:
                try:
                    await job()
                except (CiliumError, aiohttp.ClientError, TimeoutError, OSError) as error:
                    outcome.failed(error)
                    log.warning("job failed", job=name, error=outcome.last_error)
                    await backoff.sleep()
                else:
                    outcome.succeeded()
                    backoff.reset()
                    await asyncio.sleep(seconds)

        self._tasks.create_task(loop(), name=name)


async def _close_soon(cni: CniServer) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            await cni.close()


def _is_pod(store: MapStore, raw: bytes) -> bool:
    found = store.endpoints.current.get(EndpointKey(raw))
    return found is not None and not found.flags & EndpointFlag.HOST


def _access(settings: Settings) -> access.Access:
    if settings.kubeconfig is not None:
        return access.from_kubeconfig(settings.kubeconfig)
    return access.in_cluster(os.environ, servers=settings.api_servers)
