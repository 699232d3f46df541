# SPDX-License-Identifier: Apache-2.0
"""Channels to nodes, with the client certificate that is in the files at the moment."""

from __future__ import annotations

from typing import NamedTuple

import grpc.aio

from cilium_hubble.tls import CertificateFiles, Material, channel_credentials

_OPTIONS = [
    # A batch is as large as its flows are; the peer is a node with a certificate of this cluster.
    ("grpc.max_receive_message_length", -1),
    # A node that is back is found at once, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
]


class Connection(NamedTuple):
    """A channel and the certificates that it was made with, which it keeps."""

    channel: grpc.aio.Channel
    material: Material | None


class Dialer:
    """Makes connections. Without files nothing is encrypted, nor is it to a unix socket."""

    def __init__(self, files: CertificateFiles | None) -> None:
        """Nothing is read yet."""
        self._files = files
        self._stamp: tuple[tuple[int, int, int], ...] = ()
        self._material: Material | None = None

    @property
    def encrypted(self) -> bool:
        """Whether connections over the network are."""
        return self._files is not None

    def connect(self, address: str, server_name: str) -> Connection:
        """Open a connection; `server_name` is what the certificate must be for.

        FileNotFoundError while there is no client certificate.
        """
        if self._files is None or address.startswith("unix:"):
            return Connection(grpc.aio.insecure_channel(address, options=_OPTIONS), None)
        material = self._read(self._files)
        if material is None:
            raise FileNotFoundError(f"no client certificate in {self._files.certificate.parent}")
        options = [*_OPTIONS, ("grpc.ssl_target_name_override", server_name)]
        credentials = channel_credentials(material)
        return Connection(grpc.aio.secure_channel(address, credentials, options), material)

    def outdated(self, connection: Connection) -> bool:
        """Tell whether there are other certificates now than when a connection was made."""
        if self._files is None or connection.material is None:
            return False
        now = self._read(self._files)
        return now is not None and now != connection.material

    def _read(self, files: CertificateFiles) -> Material | None:
        """Return what the files hold, read only when they have changed: each node asks often."""
        try:
            found = [path.stat() for path in files]
        except OSError:
            return None
        stamp = tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)
        if stamp != self._stamp or self._material is None:
            self._material, self._stamp = files.read(), stamp
        return self._material
