# SPDX-License-Identifier: Apache-2.0
"""Watches the cluster through kopf: indexes and `on.event` handlers, nothing else.

kopf writes finalizers, annotations and a record of the last state only for handlers of other
kinds; there are none here, so that Pods, Nodes and Services stay as they are. Handlers do no
work: they note which names changed. kopf calls the first of them once every index is filled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import kopf

from cilium_core.process.access import Access
from cilium_core.process.session import BASE_URL, open_session
from cilium_operator.cluster import Cluster
from cilium_operator.config import Settings
from cilium_operator.views import (
    AgentView,
    CiliumNodeView,
    NodeView,
    ServiceCIDRView,
    agent_view,
    cilium_node_view,
    node_view,
    service_cidr_view,
)

Changed = Callable[[str, Mapping[str, Any]], Awaitable[None]]
NODES = ("", "v1", "nodes")
PODS = ("", "v1", "pods")
CILIUM_NODES = ("cilium.io", "v2", "ciliumnodes")
SERVICE_CIDRS = ("networking.k8s.io", "v1", "servicecidrs")
POLICIES = (
    ("cilium.io", "v2", "ciliumnetworkpolicies"),
    ("cilium.io", "v2", "ciliumclusterwidenetworkpolicies"),
)
RESOURCES = {
    "nodes": NODES,
    "agents": PODS,
    "cilium_nodes": CILIUM_NODES,
    "service_cidrs": SERVICE_CIDRS,
}


def registry(access: Access, cluster: Cluster, changed: Changed) -> kopf.OperatorRegistry:
    """Return kopf's registry. `changed(index name, body)` is awaited after each change."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)  # type: ignore[arg-type, untyped-decorator, unused-ignore]
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=BASE_URL, aiohttp_session=open_session(access))

    @kopf.index(*NODES, id="nodes", registry=handlers)
    async def nodes(body: Any, **_: Any) -> dict[str, NodeView]:
        view = node_view(body)
        return {view.name: view}

    @kopf.index(*PODS, id="agents", registry=handlers)
    async def agents(body: Any, **_: Any) -> dict[str, AgentView]:
        view = agent_view(body)
        return {view.node: view}

    @kopf.index(*CILIUM_NODES, id="cilium_nodes", registry=handlers)
    async def cilium_nodes(body: Any, **_: Any) -> dict[str, CiliumNodeView]:
        view = cilium_node_view(body)
        return {view.name: view}

    @kopf.index(*SERVICE_CIDRS, id="service_cidrs", registry=handlers)
    async def service_cidrs(body: Any, **_: Any) -> dict[str, ServiceCIDRView]:
        view = service_cidr_view(body)
        return {view.name: view}

    for index, resource in RESOURCES.items():
        _notify(handlers, index, resource, cluster, changed)
    for resource in POLICIES:
        _notify_policy(handlers, resource, changed)
    return handlers


def _notify(
    handlers: kopf.OperatorRegistry,
    index: str,
    resource: tuple[str, str, str],
    cluster: Cluster,
    changed: Changed,
) -> None:
    @kopf.on.event(*resource, id=f"{index}-changed", registry=handlers)
    async def notify(body: Any, **kwargs: Any) -> None:
        cluster.attach({name: kwargs[name] for name in RESOURCES})
        await changed(index, body)


def _notify_policy(
    handlers: kopf.OperatorRegistry, resource: tuple[str, str, str], changed: Changed
) -> None:
    @kopf.on.event(*resource, id=f"{resource[2]}-changed", registry=handlers)
    async def notify(body: Any, type: str | None, **_: Any) -> None:
        if type != "DELETED":
            await changed("policies", body)


def settings_for(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings: no events of its own, only agents' pods, dead streams noticed."""
    tuned = kopf.OperatorSettings()
    tuned.posting.enabled = False
    tuned.watching.label_selectors[PODS] = settings.agent_labels
    tuned.watching.server_timeout = 600
    tuned.watching.inactivity_timeout = 180
    tuned.watching.reconnect_backoff = 0.5
    tuned.networking.request_timeout = 30
    tuned.networking.connect_timeout = 5
    tuned.process.ultimate_exiting_timeout = None
    return tuned


async def watch(settings: Settings, handlers: kopf.OperatorRegistry, identity: str) -> None:
    """Watch until cancelled or until the process is told to end by a signal, then return.

    kopf takes the handlers of SIGTERM and SIGINT over. It gets no stop flag: a flag that is
    never set makes it wait five seconds for the task that looks at it. It gets `identity` so
    that it does not look for the user's name, which a user id of a container does not have.
    """
    await kopf.operator(
        registry=handlers,
        settings=settings_for(settings),
        identity=cast(Any, identity),
        standalone=True,
        clusterwide=True,
    )
