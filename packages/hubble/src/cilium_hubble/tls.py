# SPDX-License-Identifier: Apache-2.0
"""Certificates in files that somebody else renews: servers and clients use what is there now.

Kubernetes swaps a mounted Secret's files all at once; other writers may not, so a key that does not
fit its certificate is left until it does. Files are read at each handshake: three small reads.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import NamedTuple

import grpc
import structlog

log = structlog.get_logger(__name__)

WAIT_SECONDS = 1.0


class Material(NamedTuple):
    """PEM texts: a chain, its key, and the CAs that the other side must be signed by."""

    certificate: bytes
    key: bytes
    authorities: bytes


class CertificateFiles(NamedTuple):
    """Where the material is."""

    certificate: Path
    key: Path
    authorities: Path

    def read(self) -> Material | None:
        """Return what the files hold; None while one is missing or the pair does not fit."""
        try:
            found = Material(*(path.read_bytes() for path in self))
            if not all(found):
                return None
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(cadata=found.authorities.decode("ascii"))
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            return None
        return found

    async def wait(self) -> Material:
        """Return the material as soon as there is any."""
        told = False
        while (found := self.read()) is None:
            if not told:
                log.info("waiting for certificates", files=[str(path) for path in self])
                told = True
            await asyncio.sleep(WAIT_SECONDS)
        return found


def server_credentials(
    files: CertificateFiles, first: Material, *, mutual: bool = True
) -> grpc.ServerCredentials:
    """Return credentials that follow the files; `mutual` asks clients for certificates."""
    held = first

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal held
        found = files.read()
        if found is None or found == held:
            return None  # gRPC keeps what it has
        held = found
        log.info("new server certificate", file=str(files.certificate))
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        fetch,  # type: ignore[arg-type]
        require_client_authentication=mutual,
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], material.authorities
    )


def channel_credentials(material: Material) -> grpc.ChannelCredentials:
    """Return a client's credentials; a channel keeps them, so new material wants a new channel."""
    return grpc.ssl_channel_credentials(material.authorities, material.key, material.certificate)
