# SPDX-License-Identifier: Apache-2.0
"""The two small HTTP servers: health on the loopback, metrics for Prometheus. One event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from cilium_operator.config import Settings
from cilium_operator.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Health:
    """What /healthz answers: ok, or what is wrong."""

    def __init__(self) -> None:
        """Healthy until told otherwise."""
        self.problem = ""


class Servers:
    """Serves health and metrics until stopped."""

    def __init__(self, settings: Settings, health: Health, metrics: Metrics) -> None:
        """Nothing listens before start()."""
        self._settings = settings
        self._health = health
        self._metrics = metrics
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen. OSError when an address is taken."""
        await self._serve(self._settings.health_address, "/healthz", self._healthz)
        if self._settings.prometheus_address is not None:
            await self._serve(self._settings.prometheus_address, "/metrics", self._scrape)

    async def stop(self) -> None:
        """Close both."""
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, address: tuple[str, int], path: str, handler: Handler) -> None:
        application = web.Application()
        application.router.add_get(path, handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, *address).start()

    async def _healthz(self, request: web.Request) -> web.Response:
        if self._health.problem:
            return web.Response(status=500, text=self._health.problem)
        return web.Response(text="ok")

    async def _scrape(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
