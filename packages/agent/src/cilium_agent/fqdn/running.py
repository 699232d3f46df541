# SPDX-License-Identifier: Apache-2.0
"""The life of names: TTLs end, connections are looked at, the journal is renewed.

One task on the event loop; a walk over the connection table runs in a thread, and only while an
address is left to its connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from cilium_agent.fqdn.journal import Journal
from cilium_agent.fqdn.names import Names
from cilium_agent.model import Endpoint
from cilium_core.addresses import Address, pack_address, unpack_address
from cilium_core.errors import CiliumError

END_SECONDS = 1.0
WALK_SECONDS = 60.0  # as often as upstream collects names

# Whom these endpoints have connections to, as 16 bytes each. Blocking: some tenths of a second.
Opened = Callable[[set[bytes]], dict[bytes, set[bytes]]]


class Outcome(Protocol):
    """Who is told how the job fares."""

    def succeeded(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class Upkeep:
    """Runs what names need now and then."""

    def __init__(
        self,
        names: Names,
        journal: Journal,
        opened: Opened,
        endpoints: Callable[[], Iterable[Endpoint]],
        walk_seconds: float = WALK_SECONDS,
    ) -> None:
        """`opened` reads the connection table, `endpoints` are this node's."""
        self._names, self._journal = names, journal
        self._opened, self._endpoints = opened, endpoints
        self._walk_seconds = walk_seconds

    async def run(self, outcome: Outcome) -> None:
        """Begin a new journal, then keep names until cancelled."""
        await self._renew()
        walk_at = time.monotonic() + self._walk_seconds
        while True:
            await asyncio.sleep(END_SECONDS)
            try:
                self._names.end()
                if time.monotonic() >= walk_at:
                    await self.walk()
                    walk_at = time.monotonic() + self._walk_seconds
            except CiliumError as error:  # what was not written waits; the next turn tries again
                outcome.failed(error)
            else:
                outcome.succeeded()
            if self._journal.grown:
                await self._renew()

    async def walk(self) -> None:
        """Look at the connections of endpoints that have addresses left to these."""
        waiting = self._names.waiting()
        if not waiting:
            return
        by: dict[bytes, int] = {}
        for endpoint in self._endpoints():
            if endpoint.endpoint_id in waiting:
                for address in (endpoint.ipv4, endpoint.ipv6):
                    if address is not None:
                        by[pack_address(address)] = endpoint.endpoint_id
        began = self._names.clock()
        found = await asyncio.to_thread(self._opened, set(by))
        connections: dict[int, set[Address]] = {}
        for local, peers in found.items():
            connections.setdefault(by[local], set()).update(map(unpack_address, peers))
        self._names.walked(began, connections)

    async def _renew(self) -> None:
        for _ in self._journal.begin(self._names.state):
            await asyncio.sleep(0)
