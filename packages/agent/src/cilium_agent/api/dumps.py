# SPDX-License-Identifier: Apache-2.0
"""Dumps of the pinned maps, read from the kernel and not from what the agent believes.

Reading a large map takes tens of milliseconds: call in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cilium_agent.api.connections import connection_text, state_text
from cilium_agent.datapath.maps import PinnedMap
from cilium_agent.datapath.store import MapStore
from cilium_agent.services.listing import protocol_name
from cilium_core.addresses import UNSPECIFIED, unpack_address, unpack_network
from cilium_core.layouts import datapath as layouts
from cilium_core.layouts import policy as policy_layouts
from cilium_core.layouts.datapath import EndpointFlag

Entry = dict[str, str]


def names(store: MapStore) -> list[str]:
    """Return the names of the maps that can be dumped."""
    return sorted(_maps(store))


def dump(store: MapStore, name: str) -> list[Entry] | None:
    """Return a map's entries as key and value texts, None for a map that is not known."""
    pinned = _maps(store).get(name)
    if pinned is None:
        return None
    key_text, value_text = _TEXTS[name]
    rows = [{"key": key_text(key), "value": value_text(value)} for key, value in pinned.items()]
    return sorted(rows, key=lambda row: row["key"])


def _maps(store: MapStore) -> dict[str, PinnedMap[Any, Any]]:
    tables = (
        store.endpoints,
        store.ipcache,
        store.tunnels,
        store.services,
        store.slots,
        store.backends,
    )
    kernels = [*(table.kernel for table in tables), store.connections]
    return {kernel.spec.name: kernel for kernel in kernels}


def _address(raw: bytes) -> str:
    return str(unpack_address(raw))


def _at(raw: bytes, port: int, protocol: int) -> str:
    text = _address(raw)
    host = f"[{text}]" if ":" in text else text
    return f"{host}:{port}/{protocol_name(protocol)}"


def _endpoint(info: layouts.EndpointInfo) -> str:
    if info.flags & EndpointFlag.HOST:
        return "(localhost)"
    return (
        f"id={info.endpoint_id} sec_id={info.identity} flags=0x{info.flags:04X} "
        f"ifindex={info.ifindex} mac={info.mac.hex(':')} nodemac={info.node_mac.hex(':')} "
        f"policy={info.policy} revision={info.revision}"
    )


def _ipcache(info: layouts.IpcacheInfo) -> str:
    tunnel = _address(info.tunnel) if info.tunnel != UNSPECIFIED else "0.0.0.0"
    return f"identity={info.identity} tunnelendpoint={tunnel} flags={info.flags}"


_TEXTS: dict[str, tuple[Callable[[Any], str], Callable[[Any], str]]] = {
    layouts.ENDPOINTS.name: (lambda key: _address(key.addr), _endpoint),
    layouts.IPCACHE.name: (lambda key: str(unpack_network(key.prefixlen, key.addr)), _ipcache),
    layouts.TUNNELS.name: (
        lambda key: str(unpack_network(key.prefixlen, key.addr)),
        lambda info: f"{_address(info.node)} node_id={info.node_id}",
    ),
    layouts.SERVICES.name: (
        lambda key: _at(key.addr, key.port, key.proto),
        lambda info: f"id={info.service_id} count={info.count} flags=0x{info.flags:X}",
    ),
    layouts.SLOTS.name: (
        lambda key: f"{key.service_id}/{key.slot}",
        lambda info: f"backend={info.backend_id}",
    ),
    layouts.BACKENDS.name: (
        lambda key: str(key.backend_id),
        lambda info: _at(info.addr, info.port, info.proto),
    ),
    policy_layouts.CONNECTIONS.name: (connection_text, state_text),
}
