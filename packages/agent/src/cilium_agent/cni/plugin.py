# SPDX-License-Identifier: Apache-2.0
"""Carries out CNI calls over the endpoint manager. Any number of calls at once."""

from __future__ import annotations

from typing import Any

from cilium_agent.cni.errors import CniError, Code
from cilium_agent.cni.request import Call
from cilium_agent.cni.result import add_result
from cilium_agent.endpoints.manager import EndpointManager
from cilium_agent.model import Endpoint


class Plugin:
    """One method for each command; each returns the result object or None."""

    def __init__(self, manager: EndpointManager) -> None:
        """Work on the manager's endpoints."""
        self._manager = manager

    async def call(self, call: Call) -> dict[str, Any] | None:
        """Carry out a checked call and return what the plugin prints."""
        if call.command == "ADD":
            return await self._add(call)
        if call.command == "DEL":
            await self._manager.delete(call.container_id, call.interface)
        elif call.command == "CHECK":
            await self._check(call)
        elif call.command == "GC":
            await self._collect(call)
        else:
            self._status()
        return None

    async def _add(self, call: Call) -> dict[str, Any]:
        endpoint = await self._manager.create(call.attachment())
        return add_result(endpoint, self._manager.links.settings, call.conf.cni_version)

    async def _check(self, call: Call) -> None:
        endpoint, problems = await self._manager.check(call.container_id, call.interface)
        if endpoint.netns != call.netns:
            problems.append(f"CNI_NETNS: ADD was given {endpoint.netns}")
        problems += _differences(call, endpoint)
        if problems:
            raise CniError(
                Code.NOT_AS_EXPECTED,
                f"endpoint {endpoint.endpoint_id} is not as ADD left it",
                "; ".join(problems),
            )

    async def _collect(self, call: Call) -> None:
        if call.conf.valid is None:
            raise CniError(
                Code.INVALID_CONFIG,
                "cni.dev/valid-attachments: is missing; without it GC would remove every pod",
            )
        await self._manager.retain({(v.container_id, v.ifname) for v in call.conf.valid})

    def _status(self) -> None:
        for family, pool in (("IPv4", self._manager.pool.v4), ("IPv6", self._manager.pool.v6)):
            if pool is not None and pool.used >= pool.capacity:
                raise CniError(
                    Code.NOT_AVAILABLE, f"{family} pod CIDR {pool.network} has no free address"
                )


def _differences(call: Call, endpoint: Endpoint) -> list[str]:
    """Return what prevResult has that the endpoint has not."""
    if call.conf.prev_result is None:
        return []
    held = {
        f"{address}/{address.max_prefixlen}"
        for address in (endpoint.ipv4, endpoint.ipv6)
        if address is not None
    }
    return [
        f"prevResult.ips: {ip.address} is not this endpoint's"
        for ip in call.conf.prev_result.ips
        if ip.address not in held
    ]
