# SPDX-License-Identifier: Apache-2.0
"""The DNS proxy's life: follows the agent, holds its ports, tells what it learns and sees.

One event loop. The agent and hubble may come and go: the last rules hold, also over a restart of
this process, and what they have to hear waits in bounded memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import structlog
from prometheus_client import start_http_server

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy import health
from cilium_proxy.access.buffer import Buffer
from cilium_proxy.access.pushing import Pusher
from cilium_proxy.dns import settings as limits_of
from cilium_proxy.dns.counts import Counts
from cilium_proxy.dns.datagrams import Datagrams
from cilium_proxy.dns.flows import Flow, RulesInForce
from cilium_proxy.dns.forwarding import DatagramForwarder
from cilium_proxy.dns.gate import Gate
from cilium_proxy.dns.learning import Learner
from cilium_proxy.dns.limits import Room
from cilium_proxy.dns.listeners import Listeners
from cilium_proxy.dns.pipeline import Pipeline
from cilium_proxy.dns.records import Records
from cilium_proxy.dns.settings import Settings
from cilium_proxy.dns.sockets import AnswerSender
from cilium_proxy.dns.streams import Streams
from cilium_proxy.following import Follower
from cilium_proxy.rules.memory import Memory

log = structlog.get_logger(__name__)


class DnsProxy:
    """One run of the proxy. `run` returns only by an exception or its cancellation."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing runs yet."""
        self.settings = settings
        self.counts = Counts()
        self.learner = Learner(settings.names_socket, settings.longest_hold, self.counts)
        room = Room(settings.most, limits_of.PER_CLIENT, settings.grace)
        self.pusher = Pusher(settings.access_socket, Buffer())
        records = Records(self.pusher.keep)
        self.gate = Gate(self.learner, records, self.counts, room, settings.refusal)
        self.follower = Follower(settings.agent_socket, [pb.DNS], Memory(settings.memory))

    async def run(self) -> None:
        """Serve until cancelled."""
        async with AsyncExitStack() as exits, asyncio.TaskGroup() as tasks:
            exits.push_async_callback(self.learner.close)
            sender = AnswerSender()
            exits.callback(sender.close)
            if self.settings.metrics_address is not None:
                exits.callback(self._serve_metrics(self.settings.metrics_address))
            if self.settings.health_address is not None:
                await exits.enter_async_context(
                    health.serve(self.settings.health_address, self._missing)
                )
            listeners = self._listeners(sender)
            tasks.create_task(listeners.run(), name="listeners")
            tasks.create_task(self.learner.run(), name="names")
            tasks.create_task(self.pusher.run(), name="records")
            tasks.create_task(self.follower.run(listeners), name="rules")
            log.info("the DNS proxy runs", agent=str(self.settings.agent_socket))

    def _missing(self) -> str:
        return "" if self.follower.held.known else "the agent has not told any rules yet"

    def _listeners(self, sender: AnswerSender) -> Listeners:
        forwarder = DatagramForwarder(limits_of.FORWARD_SECONDS, self.counts)
        connections = Room(limits_of.CONNECTIONS, limits_of.CONNECTIONS_PER_CLIENT)

        def datagrams(rules: RulesInForce) -> Datagrams:
            return Datagrams(rules, self.settings.versions, self.gate, forwarder, sender)

        def pipeline(flow: Flow) -> Pipeline:
            return Pipeline(flow, limits_of.FORWARD_SECONDS, self.counts)

        def streams(rules: RulesInForce) -> Streams:
            return Streams(rules, self.gate, connections, pipeline)

        versions, report = self.settings.versions, self.follower.report
        return Listeners(datagrams, streams, versions, report, self.learner.ask_again)

    def _serve_metrics(self, address: tuple[str, int]) -> Callable[[], Any]:
        host, port = address
        server, _ = start_http_server(port, host, self.counts.registry)
        return server.shutdown
