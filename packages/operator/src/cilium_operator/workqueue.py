# SPDX-License-Identifier: Apache-2.0
"""A queue of names with one worker: a name waits at most once and is tried again with delay.

The order of events does not matter, since the worker looks at the present state of each name.
One event loop; `add` may be called from any of its tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import structlog

from cilium_operator.errors import ApiError
from cilium_operator.metrics import Metrics

log = structlog.get_logger("cilium_operator.queue")
FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0


class WorkQueue:
    """Names that wait for work."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        """`name` is the queue's name in metrics and logs."""
        self._name = name
        self._waiting: dict[str, None] = {}
        self._ready = asyncio.Event()
        self._failures: dict[str, int] = {}
        self._metrics = metrics
        metrics.depth.labels(name).set_function(lambda: len(self._waiting))

    def add(self, key: str) -> None:
        """Have a name looked at soon."""
        self._metrics.adds.labels(self._name).inc()
        self._waiting[key] = None
        self._ready.set()

    async def run(self, work: Callable[[str], Awaitable[None]]) -> None:
        """Work until cancelled. Refusals and lost servers are tried again; other errors end it."""
        while True:
            await self._ready.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            if not self._waiting:
                self._ready.clear()
            try:
                with self._metrics.work.labels(self._name).time():
                    await work(key)
                self._failures.pop(key, None)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                self._again(key, error)

    def _again(self, key: str, error: Exception) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._metrics.retries.labels(self._name).inc()
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count, 10))
        log.warning("will try again", queue=self._name, key=key, error=str(error), delay=delay)
        asyncio.get_running_loop().call_later(delay, self.add, key)
