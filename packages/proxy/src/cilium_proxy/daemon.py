# SPDX-License-Identifier: Apache-2.0
"""The controller's life: one follower of the agent, two services for Envoy, one pusher of records.

Everything runs in one task group on one event loop; an unexpected exception ends the process and
the kubelet starts it again. Envoy goes on with what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry

from cilium_core.proto import access_pb2
from cilium_proxy import health, metrics, serving
from cilium_proxy.access.buffer import Buffer
from cilium_proxy.access.pushing import Pusher
from cilium_proxy.access.reading import Reader
from cilium_proxy.access.records import Writer
from cilium_proxy.access.server import AccessLog
from cilium_proxy.config import Settings
from cilium_proxy.controller import KINDS, Controller
from cilium_proxy.following import Follower
from cilium_proxy.known import Known
from cilium_proxy.rules.held import Change
from cilium_proxy.rules.memory import Memory
from cilium_proxy.xds.server import Discovery
from cilium_proxy.xds.table import Table

log = structlog.get_logger(__name__)


class Daemon:
    """One run of the controller. `run` returns only by an exception or its cancellation."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing runs yet."""
        self.settings = settings
        self.follower = Follower(settings.agent_socket, KINDS, Memory(settings.memory))
        self.table = Table()
        self.controller = Controller(self.table, self.follower.report, settings.record_headers)
        self.discovery = Discovery(self.table)
        self.known = Known()
        self.pusher = Pusher(settings.hubble_socket, Buffer())
        self.registry = CollectorRegistry()
        self.counts = metrics.Counts(self.registry)
        self.controller.on_settled = self.counts.settled.observe
        self.reader = Reader(Writer(self.known.find, settings.redaction))

    async def run(self) -> None:
        """Serve until cancelled."""
        settings = self.settings
        async with AsyncExitStack() as exits, asyncio.TaskGroup() as tasks:
            access_log = AccessLog(self.reader, self._keep)
            sockets = settings.envoy_sockets
            await exits.enter_async_context(
                serving.serve(sockets / "access_log.sock", access_log.handler())
            )
            await exits.enter_async_context(
                serving.serve(sockets / "xds.sock", self.discovery.handler())
            )
            if settings.health_address is not None:
                await exits.enter_async_context(
                    health.serve(settings.health_address, self._missing)
                )
            if settings.metrics_address is not None:
                self.registry.register(self._collector())
                server = metrics.serve(settings.metrics_address, self.registry)
                exits.callback(server.shutdown)
            tasks.create_task(self.follower.run(self), name="rules")
            tasks.create_task(self.pusher.run(), name="records")
            log.info("controller serves", sockets=str(sockets))

    def take(self, change: Change) -> None:
        """Take a change of rule sets in."""
        self.known.note(change)
        self.controller.take(change)

    def _keep(self, records: Iterable[access_pb2.Record]) -> None:
        self.pusher.keep(self.counts.counted(records))

    def _missing(self) -> str:
        if not self.table.ready:
            return "the agent has not told any rules yet"
        return "" if self.discovery.streams else "Envoy is not connected"

    def _collector(self) -> metrics.ProxyCollector:
        return metrics.ProxyCollector(
            self.counts, self.follower, self.controller, self.discovery, self.pusher.buffer
        )
