# SPDX-License-Identifier: Apache-2.0
"""The load-balancing maps as the API shows them: what the kernel holds, named where known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cilium_agent.services.desired import PROTOCOLS, Frontend, Resolved
from cilium_agent.services.tables import frontend_of
from cilium_core.addresses import unpack_address
from cilium_core.layouts.datapath import (
    BackendInfo,
    BackendKey,
    BackendState,
    ServiceInfo,
    ServiceKey,
    SlotInfo,
    SlotKey,
)

_NAMES = {number: name for name, number in PROTOCOLS.items()}


def service_list(
    services: Mapping[ServiceKey, ServiceInfo],
    slots: Mapping[SlotKey, SlotInfo],
    backends: Mapping[BackendKey, BackendInfo],
    known: Mapping[Frontend, Resolved],
) -> list[dict[str, Any]]:
    """Return the services ordered by number, each with spec and status as upstream's API has."""
    entries = []
    for key, info in sorted(services.items(), key=lambda row: row[1].service_id):
        spec = {
            "id": info.service_id,
            "frontend-address": {**_address(key.addr, key.port, key.proto), "scope": "external"},
            "backend-addresses": _backends(info, slots, backends),
            "flags": _flags(known.get(frontend_of(key))),
        }
        entries.append({"spec": spec, "status": {"realized": spec}})
    return entries


def backend_of(
    service_id: int,
    slot: int,
    slots: Mapping[SlotKey, SlotInfo],
    backends: Mapping[BackendKey, BackendInfo],
) -> BackendInfo | None:
    """Return the backend in a slot as a program would find it."""
    found = slots.get(SlotKey(service_id, slot))
    return backends.get(BackendKey(found.backend_id)) if found is not None else None


def protocol_name(number: int) -> str:
    """Return TCP or UDP, else the number."""
    return _NAMES.get(number, str(number))


def _backends(
    info: ServiceInfo,
    slots: Mapping[SlotKey, SlotInfo],
    backends: Mapping[BackendKey, BackendInfo],
) -> list[dict[str, Any]]:
    found = [backend_of(info.service_id, slot, slots, backends) for slot in range(info.count)]
    return [
        {
            **_address(backend.addr, backend.port, backend.proto),
            "state": BackendState(backend.state).name.lower(),
            "id": backend.backend_id,
        }
        for backend in found
        if backend is not None
    ]


def _address(raw: bytes, port: int, protocol: int) -> dict[str, Any]:
    return {"ip": str(unpack_address(raw)), "port": port, "protocol": protocol_name(protocol)}


def _flags(resolved: Resolved | None) -> dict[str, Any]:
    flags: dict[str, Any] = {"type": "ClusterIP"}
    if resolved is not None:
        flags |= {
            "name": resolved.name,
            "namespace": resolved.namespace,
            "portName": resolved.port_name,
        }
    return flags
