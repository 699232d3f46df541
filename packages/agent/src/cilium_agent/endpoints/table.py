# SPDX-License-Identifier: Apache-2.0
"""The endpoints known right now, their numbers and a lock for each attachment.

Touched from the agent's event loop only.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from cilium_agent.endpoints.errors import EndpointsExhausted, NoSuchEndpoint
from cilium_agent.model import Endpoint
from cilium_core.addresses import Address

MAX_ID = 65535


class EndpointTable:
    """Endpoints by host interface and by id."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_name: dict[str, Endpoint] = {}
        self._by_id: dict[int, str] = {}
        self._by_address: dict[Address, int] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._last_id = 0

    def lock(self, host_interface: str) -> asyncio.Lock:
        """Return the lock of one attachment, the same for all who hold or await it."""
        lock = self._locks.get(host_interface)
        if lock is None:
            lock = self._locks[host_interface] = asyncio.Lock()
        return lock

    def new_id(self) -> int:
        """Return a free id, the next one after the last given out, so that none returns soon."""
        for step in range(1, MAX_ID + 1):
            number = (self._last_id + step - 1) % MAX_ID + 1
            if number not in self._by_id:
                self._last_id = number
                return number
        raise EndpointsExhausted(f"all {MAX_ID} endpoint ids of this node are in use")

    def resume(self, last: int) -> None:
        """Go on after the id given out last before a restart; 0 when that is not known."""
        self._last_id = last or self._last_id

    def put(self, endpoint: Endpoint) -> None:
        """Add an endpoint or replace it by its newer value."""
        self._by_name[endpoint.host_interface] = endpoint
        self._by_id[endpoint.endpoint_id] = endpoint.host_interface
        for address in (endpoint.ipv4, endpoint.ipv6):
            if address is not None:
                self._by_address[address] = endpoint.endpoint_id
        self._last_id = max(self._last_id, endpoint.endpoint_id)

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint; unknown is not an error."""
        if self._by_name.pop(endpoint.host_interface, None) is not None:
            self._by_id.pop(endpoint.endpoint_id, None)
            for address in (endpoint.ipv4, endpoint.ipv6):
                if address and self._by_address.get(address) == endpoint.endpoint_id:
                    del self._by_address[address]

    def at(self, address: Address) -> int | None:
        """Return the id of the endpoint that has an address."""
        return self._by_address.get(address)

    def find(self, host_interface: str) -> Endpoint | None:
        """Return the endpoint of a host interface."""
        return self._by_name.get(host_interface)

    def get(self, endpoint_id: int) -> Endpoint:
        """Return the endpoint of an id. NoSuchEndpoint when there is none."""
        name = self._by_id.get(endpoint_id)
        if name is None:
            raise NoSuchEndpoint(f"endpoint {endpoint_id} is not on this node")
        return self._by_name[name]

    def all(self) -> list[Endpoint]:
        """Return all endpoints by id."""
        return [self._by_name[self._by_id[number]] for number in sorted(self._by_id)]
