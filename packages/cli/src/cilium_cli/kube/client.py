# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server: one object, whole lists, a log, a command in a pod.

One session per client, used from one event loop. Lists are read in pages and decoded straight into
the caller's structures, so that a big cluster does not become a big dict.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from cilium_cli.errors import ApiError, KubeconfigError
from cilium_cli.kube.exec import ExecResult, read_exec
from cilium_cli.kube.kubeconfig import Access

T = TypeVar("T")
PAGE = 500
_SUBPROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class _ListMeta(msgspec.Struct):
    resume: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[T] | None = None


class _StatusReply(msgspec.Struct):
    message: str = ""


def ssl_context(access: Access) -> ssl.SSLContext:
    """Return the TLS settings of an access. KubeconfigError when a certificate is unusable."""
    try:
        context = ssl.create_default_context(cadata=access.ca.decode() or None)
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.credentials.certificate:
            # The ssl module loads key pairs from files only; this one is 0600 and short-lived.
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(access.credentials.certificate + b"\n" + access.credentials.key)
                pair.flush()
                context.load_cert_chain(pair.name)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"certificate-authority or client-certificate: {error}") from error
    return context


def proxy_for(access: Access) -> str | None:
    """Return the proxy to use: the kubeconfig's, else the environment's; never for loopback."""
    if access.proxy:
        return access.proxy
    parts = urlsplit(access.server)
    host = parts.hostname or ""
    try:
        if ipaddress.ip_address(host).is_loopback:
            return None
    except ValueError:
        if host == "localhost":
            return None
    return None if proxy_bypass(host) else getproxies().get(parts.scheme)


class Client:
    """An open session with one API server. Use as an async context manager."""

    def __init__(self, access: Access, timeout: float = 30.0) -> None:
        self._access = access
        self._proxy = proxy_for(access)
        self._ssl: ssl.SSLContext | bool = (
            ssl_context(access) if access.server.startswith("https") else False
        )
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        credentials = self._access.credentials
        headers = [("User-Agent", "cilium-cli")]
        auth = None
        if credentials.token:
            headers.append(("Authorization", f"Bearer {credentials.token}"))
        elif credentials.username:
            auth = aiohttp.BasicAuth(credentials.username, credentials.password)
        if self._access.impersonate:
            headers.append(("Impersonate-User", self._access.impersonate))
        headers += [("Impersonate-Group", group) for group in self._access.impersonate_groups]
        self._session = aiohttp.ClientSession(headers=headers, auth=auth, timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str, kind: type[T]) -> T:
        """Return one object. ApiError, with status 404 when it does not exist."""
        return self._decode(path, await self._read(path, {}), kind)

    async def list(
        self, path: str, kind: type[T], *, selector: str = "", metadata_only: bool = False
    ) -> list[T]:
        """Return all objects of a collection, read in pages. ApiError when refused."""
        items: list[T] = []
        params = {"limit": str(PAGE)}
        if selector:
            params["labelSelector"] = selector
        headers = {"Accept": METADATA_ONLY} if metadata_only else {}
        while True:
            page = self._decode(path, await self._read(path, params, headers), _Page[kind])  # type: ignore[valid-type]
            items += page.items or ()
            if not page.metadata.resume:
                return items
            params["continue"] = page.metadata.resume

    async def log(
        self, namespace: str, pod: str, container: str, *, lines: int, previous: bool
    ) -> str:
        """Return the last lines of a container's log, or of its previous run."""
        params = {"container": container, "tailLines": str(lines)}
        if previous:
            params["previous"] = "true"
        raw = await self._read(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", params)
        return raw.decode(errors="replace")

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> ExecResult:
        """Run a command in a container and return what it printed and its exit status."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        params = [("container", container), ("stdout", "true"), ("stderr", "true")]
        params += [("command", word) for word in command]
        try:
            async with self._open().ws_connect(
                self._access.server + path,
                params=params,
                protocols=_SUBPROTOCOLS,
                ssl=self._ssl,
                server_hostname=self._access.tls_server_name or None,
                proxy=self._proxy,
                max_msg_size=64 << 20,
            ) as socket:
                async with asyncio.timeout(self._timeout.total):
                    return await read_exec(socket)
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(f"exec into {pod}: {error.status} {error.message}", error.status) from (
                error
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(f"exec into {pod}: {error or 'timed out'}") from error

    async def port_forward(
        self, namespace: str, pod: str, port: int
    ) -> aiohttp.ClientWebSocketResponse[Any]:
        """Open one connection to a port of a pod: see `kube.forward`. Close it yourself."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        try:
            return await self._open().ws_connect(
                self._access.server + path,
                params={"ports": str(port)},
                protocols=_SUBPROTOCOLS,
                ssl=self._ssl,
                server_hostname=self._access.tls_server_name or None,
                proxy=self._proxy,
                max_msg_size=64 << 20,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(f"port of {pod}: {error.status} {error.message}", error.status) from (
                error
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(f"port of {pod}: {error or 'timed out'}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        return self._session

    async def _read(
        self, path: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> bytes:
        url = self._access.server + path
        server_name = self._access.tls_server_name or None
        try:
            async with self._open().get(
                url,
                params=params,
                headers=headers,
                ssl=self._ssl,
                proxy=self._proxy,
                server_hostname=server_name,
            ) as reply:
                body = await reply.read()
        except TimeoutError as error:
            raise ApiError(f"{self._access.server} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise ApiError(f"cannot reach {self._access.server}: {error}") from error
        if reply.status >= 400:
            raise ApiError(_reason(body) or f"{path}: HTTP {reply.status}", reply.status)
        return body

    @staticmethod
    def _decode(path: str, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise ApiError(f"{path}: unexpected reply: {error}") from error


def _reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_StatusReply).message
    except msgspec.DecodeError:
        return body.decode(errors="replace").strip()[:200]
