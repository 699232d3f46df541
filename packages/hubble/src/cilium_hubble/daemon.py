# SPDX-License-Identifier: Apache-2.0
"""The daemon's life: one reader of the ring, one follower of the agent, two sockets.

Everything runs in one task group on one event loop; an unexpected exception ends the process, the
kubelet starts it again and it goes on where the ring's position says. Traffic never waits for it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, aclosing, suppress

import grpc
import structlog

from cilium_hubble import metrics
from cilium_hubble.access import server as access_server
from cilium_hubble.access.server import AccessRecords
from cilium_hubble.agentevents.log import EventLog
from cilium_hubble.agentevents.noting import Notes
from cilium_hubble.config import Settings
from cilium_hubble.flowmetrics.all import FlowMetrics
from cilium_hubble.flows.chunk import Names
from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.flows.links import LinkNames
from cilium_hubble.flows.store import Store
from cilium_hubble.history.writer import History
from cilium_hubble.kernel.source import EventSource
from cilium_hubble.monitor import server as monitor_server
from cilium_hubble.monitor.server import Monitor
from cilium_hubble.observer import batches
from cilium_hubble.observer import server as observer_server
from cilium_hubble.observer import service as observer_service
from cilium_hubble.observer.events import Events
from cilium_hubble.observer.service import Observer
from cilium_hubble.peer import service as peer_service
from cilium_hubble.state.applying import Applier
from cilium_hubble.state.directory import Directory
from cilium_hubble.state.following import follow
from cilium_hubble.state.model import Node

log = structlog.get_logger(__name__)

NAMES_SECONDS = 3.0  # how long the ring may fill while the agent's state is not known yet
SAMPLE_SECONDS = 1.0
DEFAULT_PORT = 4244


class Daemon:
    """One run of hubble. `run` returns only by an exception or its cancellation."""

    def __init__(self, settings: Settings) -> None:
        """Take the ring's lock and make the parts; nothing runs yet. RingBusy when it is taken."""
        self.settings = settings
        self.directory = Directory()
        self.directory.put_node(Node(settings.node_name, settings.cluster_name))
        self.source = EventSource(settings.bpf_root / "maps", settings.run_dir / "events.lock")
        self.ingest = Ingest(Store(settings.capacity), self.directory)
        link = LinkNames()
        self.names = Names(
            self.ingest.parties,
            self.ingest.services,
            self.ingest.origins,
            FlowIds(),
            link,
            lambda: self.directory.node,
            self.ingest.payloads,
            self.ingest.fqdns,
        )
        self.history = self._make_history()
        self.observer = Observer(self.ingest, self.names, lambda: self.source.read_to, self.history)
        self.monitor = Monitor(link, lambda: self.source.capacity)
        self.events = EventLog(settings.capacity)
        self.applier = Applier(self.directory, Notes(self.directory, self.events))
        self.counts = FlowMetrics(settings.metrics, self.names)
        self.records = AccessRecords(self.ingest, self.counts.add_requests)

    def _make_history(self) -> History | None:
        asked = self.settings.history
        if asked is None:
            return None
        return History(asked.path, self.ingest.store, self.names, asked.limits)

    async def run(self) -> None:
        """Serve until cancelled."""
        settings = self.settings
        async with AsyncExitStack() as exits, asyncio.TaskGroup() as tasks:
            exits.callback(self.source.close)
            if self.history is not None:
                await self.history.start()
                exits.push_async_callback(self.history.close)
                tasks.create_task(self.history.run(), name="history")
            handlers = self._handlers()
            await exits.enter_async_context(observer_server.serve(settings.socket, handlers))
            await exits.enter_async_context(
                monitor_server.serve(settings.monitor_socket, self.monitor)
            )
            await exits.enter_async_context(
                access_server.serve(settings.access_socket, self.records)
            )
            if settings.metrics_address is not None:
                exits.callback(metrics.serve(settings.metrics_address, self._collector()).shutdown)
            if settings.listen_address is not None:
                serving = observer_server.listen(
                    settings.listen_address, handlers, settings.certificates
                )
                tasks.create_task(serving, name="relay's port")
            tasks.create_task(follow(settings.node_state_socket, self.applier), name="node state")
            tasks.create_task(self._ingest(), name="events")
            tasks.create_task(self._sample(), name="rate")
            log.info("hubble serves", socket=str(settings.socket), flows=settings.capacity)

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        _, port = self.settings.listen_address or ("", DEFAULT_PORT)
        peers = peer_service.Peers(
            self.directory.cluster,
            lambda: self.directory.node.cluster,
            port,
            tls=self.settings.certificates is not None,
        )
        return [
            observer_service.handler(
                self.observer, Events(self.events, lambda: self.directory.node).methods()
            ),
            batches.handler(self.observer),
            peer_service.handler(peers),
        ]

    def _collector(self) -> metrics.HubbleCollector:
        return metrics.HubbleCollector(
            self.counts,
            self.ingest,
            self.source,
            self.observer,
            self.monitor,
            self.applier,
            self.records,
            self.history,
        )

    async def _ingest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.applier.synced.wait(), NAMES_SECONDS)
        async with aclosing(self.source.batches()) as batches:
            async for batch in batches:
                if batch.lost:
                    self.ingest.lost(batch.lost, batch.since, batch.now)
                self.counts.add(self.ingest.add(batch.events))
                if self.monitor.clients:
                    self.monitor.publish(batch.events, batch.lost)

    async def _sample(self) -> None:
        while True:
            self.observer.rate.sample(time.monotonic(), self.ingest.store.flows)
            await asyncio.sleep(SAMPLE_SECONDS)
