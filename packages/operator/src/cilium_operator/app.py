# SPDX-License-Identifier: Apache-2.0
"""The operator process: definitions, leadership, then watching and work until told to end.

The first task that ends, ends the process: a signal in good order, anything else with an error
and at once, so that a restart begins from the cluster's own state.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import uuid
from collections.abc import Coroutine
from typing import Any

import aiohttp
import structlog

from cilium_core.crds.definitions import definitions
from cilium_core.process.access import Access
from cilium_operator import crds
from cilium_operator.cluster import Cluster
from cilium_operator.config import Settings
from cilium_operator.controllers import Controllers
from cilium_operator.errors import ApiError, LeadershipLost
from cilium_operator.kube.client import ApiClient
from cilium_operator.kube.lease import LEASE_NAME, Elector, LeaseTimes
from cilium_operator.kube.stores import ApiLeaseStore, EventRecorder
from cilium_operator.metrics import Metrics
from cilium_operator.servers import Health, Servers
from cilium_operator.watch import registry, watch

log = structlog.get_logger("cilium_operator")


async def run(settings: Settings, access: Access, node: str) -> None:
    """Run until a signal. `node` is this node's name, for the lease and for events."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    servers = Servers(settings, Health(), metrics)
    client = ApiClient(access)
    try:
        await servers.start()
        await _first(stop.wait(), _serve(settings, access, client, metrics, node))
    finally:
        await client.close()
        await servers.stop()


async def _serve(
    settings: Settings, access: Access, client: ApiClient, metrics: Metrics, node: str
) -> None:
    await _register(client, settings)
    identity = f"{node or socket.gethostname()}-{uuid.uuid4().hex[:10]}"
    times = LeaseTimes(settings.lease_duration, settings.renew_deadline, settings.retry_period)
    store = ApiLeaseStore(client, settings.namespace)
    elector = Elector(store, settings.namespace, identity, times)
    await elector.acquire()
    metrics.leader.labels(LEASE_NAME).set(1)
    try:
        await _lead(settings, access, client, metrics, elector, identity)
    except LeadershipLost:
        raise
    except BaseException:
        await elector.release()
        raise
    await elector.release()


async def _lead(
    settings: Settings,
    access: Access,
    client: ApiClient,
    metrics: Metrics,
    elector: Elector,
    identity: str,
) -> None:
    cluster = Cluster()
    recorder = EventRecorder(client, identity)
    controllers = Controllers(settings, client, cluster, metrics, recorder)
    handlers = registry(access, cluster, controllers.changed)
    await _first(elector.keep(), watch(settings, handlers, identity), *controllers.tasks())


async def _register(client: ApiClient, settings: Settings) -> None:
    """Register the definitions; a server that does not answer yet is asked again."""
    while True:
        try:
            if settings.skip_crd_creation:
                await crds.wait_established(client, (d["metadata"]["name"] for d in definitions()))
            else:
                await crds.register(client)
            return
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("definitions not registered yet", error=str(error))
            await asyncio.sleep(1.0)


async def _first(*work: Coroutine[Any, Any, Any]) -> None:
    """Run all until the first ends, end the others, and raise what the first raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
