# SPDX-License-Identifier: Apache-2.0
"""The agent's REST API under /v1: reads, but for the cache of names, on upstream's paths."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Header, HTTPException

from cilium_agent.api import dumps, fqdn, policies, rules, views
from cilium_agent.api.status import status
from cilium_agent.datapath.endpoints import enforced_by
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.store import MapStore
from cilium_agent.proxies.listing import redirects
from cilium_agent.services.listing import service_list
from cilium_agent.state import VERSION, AgentState


def build(state: AgentState) -> FastAPI:
    """Return the application that shows `state`."""
    app = FastAPI(title="cilium-agent", version=VERSION, docs_url=None, redoc_url=None)
    _add_status(app, state)
    _add_objects(app, state)
    _add_identities(app, state)
    _add_policies(app, state)
    _add_services(app, state)
    _add_maps(app, state)
    fqdn.add(app, state)
    return app


def _add_status(app: FastAPI, state: AgentState) -> None:
    @app.get("/v1/healthz")
    async def healthz(brief: bool = Header(default=False)) -> dict[str, Any]:
        return status(state, brief=brief)

    @app.get("/v1/config")
    async def config() -> dict[str, Any]:
        settings = state.settings
        return {
            "status": {
                "realized": {"options": {}},
                "deviceMTU": settings.mtu,
                "clusterName": settings.cluster_name,
                "ipamMode": "cluster-pool",
                "datapathMode": "veth",
                "routingMode": "tunnel",
                "masquerade": settings.masquerade_ipv4 or settings.masquerade_ipv6,
                "addressing": {
                    "ipv4": {"enabled": settings.enable_ipv4},
                    "ipv6": {"enabled": settings.enable_ipv6},
                },
            },
            "spec": {"options": {}},
        }

    @app.get("/v1/cluster/nodes")
    async def cluster_nodes() -> dict[str, Any]:
        return views.nodes(state)


def _add_objects(app: FastAPI, state: AgentState) -> None:
    @app.get("/v1/endpoint")
    async def endpoints() -> list[dict[str, Any]]:
        return [
            views.endpoint(item, policies.enforcement(state, item.endpoint_id))
            for item in state.endpoint_list()
        ]

    @app.get("/v1/endpoint/{wanted}")
    async def endpoint(wanted: str) -> dict[str, Any]:
        for item in state.endpoint_list():
            if views.matches(item, wanted):
                return views.endpoint(item, policies.enforcement(state, item.endpoint_id))
        raise HTTPException(404, f"no endpoint {wanted}")


def _add_identities(app: FastAPI, state: AgentState) -> None:
    @app.get("/v1/identity")
    async def identities() -> list[dict[str, Any]]:
        return [entry["identity"] for entry in views.identities(state)]

    @app.get("/v1/identity/endpoints")
    async def identity_users() -> list[dict[str, Any]]:
        return views.identities(state)

    @app.get("/v1/identity/{number}")
    async def identity(number: int) -> dict[str, Any]:
        for entry in views.identities(state):
            if entry["identity"]["id"] == number:
                found: dict[str, Any] = entry["identity"]
                return found
        raise HTTPException(404, f"no identity {number}")

    @app.get("/v1/ip")
    async def addresses() -> list[dict[str, Any]]:
        return views.addresses(state)


def _add_policies(app: FastAPI, state: AgentState) -> None:
    @app.get("/v1/policy")
    async def policy() -> dict[str, Any]:
        return policies.policies(state)

    @app.get("/v1/policy/selectors")
    async def policy_selectors() -> list[dict[str, Any]]:
        return policies.selectors(state)


def _add_services(app: FastAPI, state: AgentState) -> None:
    @app.get("/v1/proxy")
    async def proxy() -> list[dict[str, Any]]:
        """Return the rule sets that rows use (ours, not upstream's)."""
        return redirects(state.rule_sets)

    @app.get("/v1/service")
    async def services() -> list[dict[str, Any]]:
        if state.store is None or state.balancer is None:
            return []
        tables = state.store
        return service_list(
            tables.services.current,
            tables.slots.current,
            tables.backends.current,
            state.balancer.frontends(),
        )


def _add_maps(app: FastAPI, state: AgentState) -> None:
    def opened() -> MapStore:
        if state.store is None:
            raise HTTPException(503, "the maps are not open yet")
        return state.store

    @app.get("/v1/bpf/policy")
    async def policy_rows(endpoint: int | None = None) -> list[dict[str, Any]]:
        """Return what each endpoint enforces, as the kernel's tables say (ours, not upstream's)."""
        store = opened()
        tables = (await asyncio.to_thread(KernelPolicy, store)).tables
        labels = {
            entry["identity"]["id"]: entry["identity"]["labels"]
            for entry in views.identities(state)
        }
        held = enforced_by(store)
        if endpoint is not None and endpoint not in held:
            raise HTTPException(404, f"no endpoint {endpoint}")
        return [
            {
                "endpoint": number,
                "policy": held[number].policy,
                "revision": held[number].revision,
                "entries": rules.policy_entries(tables, held[number].policy, labels),
            }
            for number in sorted(held)
            if endpoint in (None, number)
        ]

    @app.get("/v1/bpf/policy/tables")
    async def policy_tables() -> dict[str, Any]:
        """Return the kernel's rows and bits whole (ours, not upstream's)."""
        store = opened()
        return rules.whole_tables((await asyncio.to_thread(KernelPolicy, store)).tables)

    @app.get("/v1/map")
    async def maps() -> dict[str, Any]:
        return {"maps": [{"path": name} for name in dumps.names(opened())]}

    @app.get("/v1/map/{name}")
    async def one_map(name: str) -> dict[str, Any]:
        found = await asyncio.to_thread(dumps.dump, opened(), name)
        if found is None:
            raise HTTPException(404, f"no map {name}")
        return {"path": name, "cache": found}
