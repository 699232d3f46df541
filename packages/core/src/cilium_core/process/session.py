# SPDX-License-Identifier: Apache-2.0
"""HTTP sessions that reach any of the API servers and always carry a fresh token.

Failover happens where a connection is opened: the resolver answers with every server, and
aiohttp tries them in turn, so that neither kopf nor our own client knows of it. One session
per user of it (kopf closes its own). To be used on one event loop.
"""

from __future__ import annotations

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cilium_core.process.access import Access

API_HOST = "api-servers.cilium.invalid"
# Stands for all servers in requests of these sessions.
BASE_URL = f"https://{API_HOST}"


class ServerResolver(AbstractResolver):
    """Answers every question with all API servers, the one that worked last in front."""

    def __init__(self, servers: tuple[tuple[str, int], ...]) -> None:
        """Keep the servers in order of preference."""
        self._servers = servers
        self._names = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of all servers; a server given by name is looked up."""
        results: list[ResolveResult] = []
        failure: OSError | None = None
        for server, server_port in self._servers:
            try:
                results += await self._addresses(host, server, server_port)
            except OSError as error:
                failure = error
        if not results and failure is not None:
            raise failure
        return results

    async def close(self) -> None:
        """Nothing is held."""
        await self._names.close()

    async def _addresses(self, host: str, server: str, port: int) -> list[ResolveResult]:
        try:
            version = ipaddress.ip_address(server).version
        except ValueError:
            return await self._names.resolve(server, port)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return [
            ResolveResult(
                hostname=host,
                host=server,
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]


def open_session(access: Access) -> aiohttp.ClientSession:
    """Open a session; close it yourself. Certificates are checked against `access.name`."""

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.server_hostname = access.name
        token = access.token.current()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        response = await handler(request)
        if response.status == 401:
            access.token.forget()
        return response

    connector = aiohttp.TCPConnector(
        resolver=ServerResolver(access.servers),
        ssl=access.tls,
        limit=0,
        use_dns_cache=False,
        happy_eyeballs_delay=2.0,
    )
    return aiohttp.ClientSession(connector=connector, middlewares=(authorize,), trust_env=False)
