# SPDX-License-Identifier: Apache-2.0
"""Keeps Hubble's Secrets as `deciding` wants them. Only the leader runs it, one run at a time.

Writes name the version that was read; when somebody else wrote meanwhile, the next run looks again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog

from cilium_core.crds.models import ObjectMeta
from cilium_operator.certificates.deciding import Held, authority, leaf, leaves
from cilium_operator.certificates.making import BadCertificate, Pair
from cilium_operator.config import Settings
from cilium_operator.errors import ApiError

log = structlog.get_logger("cilium_operator.certificates")

AUTHORITY = "cilium-ca"
LABELS = {"app.kubernetes.io/part-of": "cilium", "app.kubernetes.io/managed-by": "cilium-operator"}


class Secret(msgspec.Struct):
    """A Secret, as far as it is used."""

    metadata: ObjectMeta
    data: dict[str, str] = {}


def _now() -> datetime:
    return datetime.now(UTC)


class Client(Protocol):
    """What of the API client is used."""

    async def find(self, path: str, kind: type[Secret]) -> Secret | None: ...

    async def create(self, path: str, body: Any) -> bytes: ...

    async def patch(self, path: str, body: Any) -> bytes: ...


class CertificateKeeper:
    """One run looks at every Secret and changes what is not right."""

    def __init__(
        self, client: Client, settings: Settings, now: Callable[[], datetime] = _now
    ) -> None:
        """Nothing is read yet."""
        self._client = client
        self._all = f"/api/v1/namespaces/{settings.namespace}/secrets"
        self._leaves = leaves(settings.cluster_name, relay_server=settings.relay_server_certificate)
        self._days = settings.certificate_days
        self._now = now

    async def run(self) -> None:
        """Look once. ApiError and aiohttp's errors when the server did not take it."""
        try:
            await self._run()
        except ApiError as error:
            if not error.conflict:
                raise
        except BadCertificate as error:
            log.error(
                "no certificates: the authority cannot sign", secret=AUTHORITY, error=str(error)
            )

    async def _run(self) -> None:
        now = self._now()
        secret = await self._find(AUTHORITY)
        made = authority(_held(secret), now, self._days)
        if made is not None:
            data = {"ca.crt": made.certificate, "ca.key": made.key}
            await self._write(AUTHORITY, secret, Held(data, {}), "Opaque")
        signer = made or _pair(secret)
        for wanted in self._leaves:
            secret = await self._find(wanted.secret)
            change = leaf(wanted, _held(secret), signer, now, self._days)
            if change is not None:
                await self._write(wanted.secret, secret, change, "kubernetes.io/tls")

    async def _find(self, name: str) -> Secret | None:
        return await self._client.find(f"{self._all}/{name}", Secret)

    async def _write(self, name: str, found: Secret | None, wanted: Held, kind: str) -> None:
        data = {key: base64.b64encode(value).decode() for key, value in wanted.data.items()}
        if found is None:
            meta: dict[str, Any] = {"name": name, "labels": LABELS}
            meta["annotations"] = dict(wanted.annotations)
            body = {"apiVersion": "v1", "kind": "Secret", "type": kind}
            await self._client.create(self._all, {**body, "metadata": meta, "data": data})
        else:
            meta = {"resourceVersion": found.metadata.resource_version}
            meta["annotations"] = dict(wanted.annotations)
            await self._client.patch(f"{self._all}/{name}", {"metadata": meta, "data": data})
        log.info("certificates written", secret=name, new=found is None)


def _held(secret: Secret | None) -> Held | None:
    if secret is None:
        return None
    data = {}
    for key, text in secret.data.items():
        try:
            data[key] = base64.b64decode(text, validate=True)
        except ValueError:
            data[key] = b""
    return Held(data, secret.metadata.annotations)


def _pair(secret: Secret | None) -> Pair:
    held = _held(secret)
    assert held is not None
    return Pair(held.data["ca.crt"], held.data["ca.key"])
