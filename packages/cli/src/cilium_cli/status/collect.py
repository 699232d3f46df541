# SPDX-License-Identifier: Apache-2.0
"""Collects the status from the API server and, through exec, from every agent.

All questions run as tasks of one loop behind a semaphore of `workers`; each writes its own part of
the status, so no lock is needed. A question that fails becomes a collection error, not an abort.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from cilium_cli.errors import ApiError, CliError
from cilium_cli.kube.client import Client
from cilium_cli.status import agents, controllers
from cilium_cli.status.model import AGENT, CLUSTERMESH, ENVOY, OPERATOR, RELAY, UI, Status
from cilium_cli.status.objects import (
    ConfigMap,
    ContainerStatus,
    DaemonSet,
    Deployment,
    Named,
    Pod,
)

T = TypeVar("T")
Question = Callable[[], Awaitable[None]]
SELECTORS = {
    AGENT: "k8s-app=cilium",
    OPERATOR: "io.cilium/app=operator,name=cilium-operator",
    ENVOY: "name=cilium-envoy",
    RELAY: "k8s-app=hubble-relay",
    UI: "k8s-app=hubble-ui",
    CLUSTERMESH: "k8s-app=clustermesh-apiserver",
}
DAEMON_SETS = (AGENT, ENVOY)
DEPLOYMENTS = (OPERATOR, RELAY, UI, CLUSTERMESH)
REQUIRED = frozenset({AGENT, OPERATOR})
AGENT_CONTAINER = "cilium-agent"
RELAY_STATUS = ("hubble", "status", "--server", "localhost:4245", "-o", "json")
_DRIFT = "config.cilium.io"


class Collector:
    """Asks one cluster for its status. Use `collect` as often as wanted, one call at a time."""

    def __init__(self, client: Client, namespace: str, workers: int = 5) -> None:
        self._client = client
        self._namespace = namespace
        self._workers = asyncio.Semaphore(workers)

    async def collect(self) -> Status:
        """Return a fresh status; what could not be asked is in its collection errors."""
        status = Status()
        async with asyncio.TaskGroup() as group:
            for name in DAEMON_SETS:
                group.create_task(self._ask(status, partial(self._daemon_set, status, name)))
            for name in DEPLOYMENTS:
                group.create_task(self._ask(status, partial(self._deployment, status, name)))
            for name in SELECTORS:
                if name != AGENT:
                    group.create_task(self._ask(status, partial(self._pods, status, name)))
            group.create_task(self._agents(status))
            group.create_task(self._ask(status, partial(self._pods_count, status)))
            group.create_task(self._ask(status, partial(self._config, status)))
        for name in SELECTORS:
            if not status.phase_count.get(name) and name not in REQUIRED | status.pod_state.keys():
                status.phase_count.pop(name, None)
                status.image_count.pop(name, None)
        return status

    async def _ask(self, status: Status, question: Question) -> None:
        async with self._workers:
            try:
                await question()
            except CliError as error:
                status.collection_errors.append(str(error))

    async def _daemon_set(self, status: Status, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/daemonsets/{name}"
        found = await self._controller(status, name, path, DaemonSet)
        if found:
            controllers.add_daemon_set(status, name, found)
            if name == AGENT:
                chart = (found.metadata.labels or {}).get("helm.sh/chart", "")
                status.helm_chart_version = chart.removeprefix("cilium-")

    async def _deployment(self, status: Status, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{name}"
        found = await self._controller(status, name, path, Deployment)
        if found:
            controllers.add_deployment(status, name, found)

    async def _controller(self, status: Status, name: str, path: str, kind: type[T]) -> T | None:
        try:
            return await self._client.get(path, kind)
        except ApiError as error:
            if error.status == 404 and name not in REQUIRED:
                status.disable(name)
                return None
            status.error(name, name, str(error))
            raise

    async def _list_pods(self, name: str) -> list[Pod]:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        return await self._client.list(path, Pod, selector=SELECTORS[name])

    async def _pods(self, status: Status, name: str) -> None:
        pods = await self._list_pods(name)
        controllers.add_pods(status, name, pods)
        if name == RELAY:
            for pod in pods:
                if pod.status.phase == "Running":
                    await self._relay(status, pod.metadata.name)

    async def _relay(self, status: Status, pod: str) -> None:
        """Ask a relay which nodes it has lost.

        One that wants TLS does not answer so; one that answers nobody is not ready, and counted so.
        """
        try:
            done = await self._client.exec(self._namespace, pod, RELAY, RELAY_STATUS)
            if done.code == 0:
                agents.add_relay_status(status, pod, msgspec.json.decode(done.stdout))
        except (CliError, msgspec.DecodeError) as error:
            status.warning(RELAY, pod, f"unable to retrieve Hubble Relay's status: {error}")

    async def _agents(self, status: Status) -> None:
        """List the agent pods, then ask each, all at once."""
        pods: list[Pod] = []

        async def listing() -> None:
            pods.extend(await self._list_pods(AGENT))
            controllers.add_pods(status, AGENT, pods)

        await self._ask(status, listing)
        async with asyncio.TaskGroup() as group:
            for pod in pods:
                if pod.status.phase == "Running":
                    group.create_task(self._ask(status, partial(self._agent, status, pod)))

    async def _agent(self, status: Status, pod: Pod) -> None:
        name = pod.metadata.name
        stopped = await self._stopped(pod)
        if stopped:
            status.error(AGENT, name, stopped)
            return
        await self._tell(
            status,
            name,
            ("cilium-dbg", "status", "-o", "json"),
            "unable to retrieve cilium status",
            lambda reply: agents.add_agent_status(status, name, reply, datetime.now(UTC)),
        )
        await self._tell(
            status,
            name,
            ("cilium-dbg", "endpoint", "list", "-o", "json"),
            "unable to retrieve cilium endpoint information",
            lambda reply: agents.add_agent_endpoints(status, name, reply or []),
        )

    async def _tell(
        self,
        status: Status,
        pod: str,
        command: tuple[str, ...],
        complaint: str,
        add: Callable[[Any], None],
    ) -> None:
        try:
            done = await self._client.exec(self._namespace, pod, AGENT_CONTAINER, command)
            if done.code:
                said = done.stderr.decode(errors="replace").strip()
                status.error(
                    AGENT, pod, f"{complaint}: command ended with exit code {done.code}: {said}"
                )
                return
            add(msgspec.json.decode(done.stdout))
        except (CliError, msgspec.DecodeError) as error:
            status.error(AGENT, pod, f"{complaint}: {error}")

    async def _stopped(self, pod: Pod) -> str:
        """Return why the agent's container cannot be asked; empty when it runs."""
        for container in pod.status.container_statuses:
            if container.name == AGENT_CONTAINER and container.state.running is None:
                waiting = container.state.waiting
                if waiting and waiting.reason == "CrashLoopBackOff":
                    return await self._crash(pod, container)
                return f"container {AGENT_CONTAINER} is not running"
        return ""

    async def _crash(self, pod: Pod, container: ContainerStatus) -> str:
        ended = container.last_state.terminated
        try:
            log = await self._client.log(
                self._namespace, pod.metadata.name, AGENT_CONTAINER, lines=1, previous=True
            )
        except ApiError:
            log = ended.message if ended else ""
        last = log.strip().splitlines()[-1:] or [""]
        code = ended.exit_code if ended else 0
        return (
            f"container {AGENT_CONTAINER} is in CrashLoopBackOff, "
            f"exited with code {code}: {last[0]}"
        )

    async def _pods_count(self, status: Status) -> None:
        pods = await self._client.list("/api/v1/pods", Pod)
        status.pods_count.all = sum(
            not pod.spec.host_network and pod.status.phase in ("Running", "Pending") for pod in pods
        )
        try:
            endpoints = await self._client.list(
                "/apis/cilium.io/v2/ciliumendpoints", Named, metadata_only=True
            )
        except ApiError as error:
            if error.status != 404:  # the operator has not registered the CRD yet
                raise
            endpoints = []
        status.pods_count.by_cilium = len(endpoints)

    async def _config(self, status: Status) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/cilium-config"
        try:
            config = await self._client.get(path, ConfigMap)
        except ApiError as error:
            raise ApiError(
                f'unable to retrieve ConfigMap "cilium-config": {error}', error.status
            ) from error
        listed = (config.data or {}).get("features-not-available", "")
        status.features_not_available = [name for name in listed.split(",") if name]
        annotations = config.metadata.annotations or {}
        status.config_errors = [
            text for key, text in sorted(annotations.items()) if key.startswith(_DRIFT)
        ]
