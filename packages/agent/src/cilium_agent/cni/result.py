# SPDX-License-Identifier: Apache-2.0
"""Results and errors as CNI JSON, in the form of each supported version. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from cilium_agent.cni.errors import CniError
from cilium_agent.endpoints.links import LinkSettings
from cilium_agent.model import Endpoint

HOST_INTERFACE = 0
POD_INTERFACE = 1
_WITH_FAMILY = {"0.3.1", "0.4.0"}  # these name an address's family, later ones do not
_WITH_MTU = {"1.1.0"}


def add_result(endpoint: Endpoint, settings: LinkSettings, version: str) -> dict[str, Any]:
    """Return ADD's result: the host's and the pod's interface, addresses, routes."""
    interfaces: list[dict[str, Any]] = [
        {"name": endpoint.host_interface, "mac": endpoint.node_mac.hex(":")},
        {"name": endpoint.interface, "mac": endpoint.mac.hex(":"), "sandbox": endpoint.netns},
    ]
    if version in _WITH_MTU:
        for interface in interfaces:
            interface["mtu"] = settings.device_mtu
    ips: list[dict[str, Any]] = []
    routes: list[dict[str, Any]] = []
    for address, router in (
        (endpoint.ipv4, settings.router_v4),
        (endpoint.ipv6, settings.router_v6),
    ):
        if address is None or router is None:
            continue
        bits = address.max_prefixlen
        entry = {
            "address": f"{address}/{bits}",
            "gateway": str(router),
            "interface": POD_INTERFACE,
        }
        if version in _WITH_FAMILY:
            entry["version"] = str(address.version)
        ips.append(entry)
        default = {"dst": "0.0.0.0/0" if address.version == 4 else "::/0", "gw": str(router)}
        for route in ({"dst": f"{router}/{bits}"}, default):
            routes.append(route | ({"mtu": settings.route_mtu} if version in _WITH_MTU else {}))
    return {
        "cniVersion": version,
        "interfaces": interfaces,
        "ips": ips,
        "routes": routes,
        "dns": {},
    }


def error_result(error: CniError, version: str) -> dict[str, Any]:
    """Return the error object."""
    body: dict[str, Any] = {
        "cniVersion": version,
        "code": int(error.code),
        "msg": error.message,
    }
    if error.details:
        body["details"] = error.details
    return body


def encode(body: dict[str, Any] | None) -> bytes:
    """Return the text for standard output; commands without a result print nothing."""
    return b"" if body is None else msgspec.json.encode(body)
