# SPDX-License-Identifier: Apache-2.0
"""How many questions and connections are in hand at once: of one client and of all.

One pod that asks a dead server as fast as it can must not take the others' turns, nor all the
ports and file descriptors there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from cilium_core.addresses import Address


class Busy(Exception):
    """There is no room for one more."""


class Room:
    """Places for so many things of all clients and so many of one. For one event loop."""

    def __init__(self, overall: int, per_client: int, grace: float = 0.0) -> None:
        """`grace` is how long one may wait for a place when all are taken."""
        self.taken = 0
        self._overall = overall
        self._per_client = per_client
        self._grace = grace
        self._clients: Counter[Address] = Counter()
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def place(self, client: Address) -> AsyncIterator[None]:
        """Hold a place. Busy when there is none, at once or after the grace period."""
        if self._clients[client] >= self._per_client:
            raise Busy
        self._clients[client] += 1
        try:
            if self.taken >= self._overall:
                await self._wait()
            self.taken += 1
            try:
                yield
            finally:
                self.taken -= 1
                self._wake()
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _wait(self) -> None:
        if not self._grace or len(self._waiting) >= self._overall:
            raise Busy
        deadline = asyncio.get_running_loop().time() + self._grace
        while self.taken >= self._overall:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout_at(deadline):
                    await turn
            except TimeoutError:
                raise Busy from None
            finally:
                with suppress(ValueError):
                    self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return
