# SPDX-License-Identifier: Apache-2.0
"""A part of a repeated work that fails alone: told as a controller's failure, tried again later.

What a step cannot do now (a map is full, netlink refuses) must neither keep the other steps from
their work nor end the process, which would only meet the same again. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from cilium_agent.errors import StartOver
from cilium_agent.k8s.backoff import Backoff
from cilium_core.errors import CiliumError

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5.0
# The shortest time from a failure to the next attempt, when something changed meanwhile.
SPACING_SECONDS = 0.5


class Controller(Protocol):
    """Who is told how a repeated job fares (`state.Outcome`)."""

    def succeeded(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class Step:
    """Runs `work` when it is wanted, and again with backoff until it succeeds."""

    def __init__(
        self, name: str, work: Callable[[], Awaitable[None]], controller: Controller
    ) -> None:
        """`name` is the controller's. The work starts wanted."""
        self.name = name
        self._work = work
        self._controller = controller
        self._backoff = Backoff(first=0.2, limit=RETRY_SECONDS)
        self._wanted = True
        self._not_before = float("-inf")
        self._spaced = float("-inf")
        self._told = ""

    def want(self) -> None:
        """Something changed: a step that failed is tried sooner for that, but not at once."""
        self._wanted = True
        self._not_before = min(self._not_before, self._spaced)

    def due(self) -> float | None:
        """Return in how many seconds the step is to run, None when nothing is wanted of it."""
        if not self._wanted:
            return None
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Run the work if it is due. Raises nothing of it but StartOver."""
        if self.due() != 0.0:
            return
        self._wanted = False
        try:
            await self._work()
        except StartOver:
            raise
        except Exception as error:
            now = asyncio.get_running_loop().time()
            self._wanted = True
            self._not_before = now + self._backoff.delay()
            self._spaced = now + SPACING_SECONDS
            self._controller.failed(error)
            self._tell(error)
        else:
            self._not_before = self._spaced = float("-inf")
            self._told = ""
            self._backoff.reset()
            self._controller.succeeded()

    def _tell(self, error: Exception) -> None:
        """Log a failure once, however often it is met again; the controller counts."""
        text = str(error) or repr(error)
        if text != self._told:
            expected = isinstance(error, CiliumError | OSError)
            trace = None if expected else error
            log.error("step failed; it is tried again", step=self.name, error=text, exc_info=trace)
        self._told = text
