# SPDX-License-Identifier: Apache-2.0
"""Relay's life: peers, connections, the API's port, health and metrics, in one task group.

An unexpected exception ends the process; Kubernetes starts it again and clients ask again.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from cilium_hubble.errors import HubbleError
from cilium_hubble.observer.server import STOP_SECONDS, target
from cilium_hubble.observer.service import SERVICE
from cilium_hubble.peer.names import PEER_SERVICE, server_name
from cilium_hubble.relay import metrics
from cilium_hubble.relay.dialing import Dialer
from cilium_hubble.relay.nodes import Pool
from cilium_hubble.relay.peers import PeerFollower
from cilium_hubble.relay.service import Relay, handlers
from cilium_hubble.relay.settings import RelaySettings
from cilium_hubble.tls import server_credentials

log = structlog.get_logger(__name__)


async def run(settings: RelaySettings) -> None:
    """Serve until cancelled. HubbleError when a port is taken."""
    dial = Dialer(settings.client_files)
    async with AsyncExitStack() as exits, asyncio.TaskGroup() as tasks:
        pool = Pool(dial, tasks)
        relay = Relay(
            pool,
            settings.name,
            settings.sort_buffer,
            settings.drain_timeout,
            encrypted=dial.encrypted,
        )
        states = health.HealthServicer()
        await _serve(exits, settings, relay, states)
        if settings.metrics_address is not None:
            exits.callback(metrics.serve(settings.metrics_address, relay).shutdown)
        follower = PeerFollower(
            pool,
            dial,
            settings.peer_service,
            server_name(PEER_SERVICE, settings.cluster_name),
            settings.retry_timeout,
        )
        tasks.create_task(follower.run(), name="peers")
        tasks.create_task(_tell_health(pool, states), name="health")
        log.info("relay serves", address=target(settings.listen_address))


async def _serve(
    exits: AsyncExitStack, settings: RelaySettings, relay: Relay, states: health.HealthServicer
) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(handlers(relay)))
    where = target(settings.listen_address)
    files = settings.server_files
    if files is None:
        _listen(server, where, None)
    else:
        _listen(
            server,
            where,
            server_credentials(files, await files.wait(), mutual=settings.server_mtls),
        )
    servers = [server]
    if settings.health_address is not None:
        probed = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        _listen(probed, target(settings.health_address), None)
        servers.append(probed)
    for one in servers:
        health_pb2_grpc.add_HealthServicer_to_server(states, one)
        await one.start()
        exits.push_async_callback(one.stop, STOP_SECONDS)


def _listen(
    server: grpc.aio.Server, where: str, credentials: grpc.ServerCredentials | None
) -> None:
    try:
        if credentials is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, credentials)
    except RuntimeError as error:
        raise HubbleError(f"cannot listen at {where}: {error}") from error


async def _tell_health(pool: Pool, states: health.HealthServicer) -> None:
    """Relay is well while at least one node answers."""
    while True:
        version = pool.version
        well = health_pb2.HealthCheckResponse
        state = well.SERVING if pool.connected() else well.NOT_SERVING
        for name in ("", SERVICE):
            await states.set(name, state)
        await pool.wait(version)
