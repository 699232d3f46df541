# SPDX-License-Identifier: Apache-2.0
"""Relay's settings: one file per key in a directory, then the environment, then flags.

The keys are upstream's. Read once at start; immutable afterwards.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cilium_core.errors import ConfigError
from cilium_core.process.settings import Source, read_directory, read_environment
from cilium_hubble.tls import CertificateFiles

DEFAULT_DIRECTORY = Path("/etc/hubble-relay")
_CLIENT = (
    "tls-hubble-client-cert-file",
    "tls-hubble-client-key-file",
    "tls-hubble-server-ca-files",
)
_SERVER = ("tls-relay-server-cert-file", "tls-relay-server-key-file", "tls-relay-client-ca-files")
KEYS = (
    "cluster-name",
    "peer-service",
    "listen-address",
    "health-listen-address",
    "metrics-listen-address",
    "retry-timeout",
    "sort-buffer-len-max",
    "sort-buffer-drain-timeout",
    "disable-client-tls",
    "disable-server-tls",
    "relay-server-mtls",
    "debug",
    *_CLIENT,
    *_SERVER,
)


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that relay can be told. Times are seconds; addresses are (host, port)."""

    name: str
    cluster_name: str = "default"
    peer_service: str = "unix:///var/run/cilium/hubble.sock"
    listen_address: tuple[str, int] = ("", 4245)
    health_address: tuple[str, int] | None = ("", 4222)
    metrics_address: tuple[str, int] | None = ("0.0.0.0", 9966)
    retry_timeout: float = 30.0
    sort_buffer: int = 4096  # flows of one node that wait for the others'
    drain_timeout: float = 1.0  # how long they do
    client_files: CertificateFiles | None = None
    server_files: CertificateFiles | None = None
    server_mtls: bool = False  # clients need a certificate too
    debug: bool = False


def load(
    directory: Path, environment: Mapping[str, str], flags: Mapping[str, str]
) -> RelaySettings:
    """Read and check the settings of this process. ConfigError names the key that is wrong."""
    files = read_directory(directory) if directory.is_dir() else {}
    values = {**files, **read_environment(environment), **flags}
    source = Source(values)
    for key in sorted(values.keys() - set(KEYS)):
        if key in flags or key in files:
            raise ConfigError(key, "is not a key that relay knows; remove it")
    return RelaySettings(
        name=environment.get("K8S_NODE_NAME") or socket.gethostname(),
        cluster_name=values.get("cluster-name") or "default",
        peer_service=values.get("peer-service") or "unix:///var/run/cilium/hubble.sock",
        listen_address=source.address("listen-address", ":4245", every_host=""),
        health_address=source.optional_address("health-listen-address", ":4222", every_host=""),
        metrics_address=source.optional_address("metrics-listen-address", ":9966"),
        retry_timeout=seconds("retry-timeout", values, 30.0),
        sort_buffer=_number("sort-buffer-len-max", values, 4096),
        drain_timeout=seconds("sort-buffer-drain-timeout", values, 1.0),
        client_files=_files(source, values, _CLIENT, "disable-client-tls"),
        server_files=_files(source, values, _SERVER, "disable-server-tls"),
        server_mtls=source.boolean("relay-server-mtls", False),
        debug=source.boolean("debug", False),
    )


def _files(
    source: Source, values: Mapping[str, str], keys: tuple[str, str, str], disabled: str
) -> CertificateFiles | None:
    if source.boolean(disabled, False):
        return None
    for key in keys:
        if not values.get(key):
            raise ConfigError(key, f"is needed unless {disabled} is true")
    return CertificateFiles(*(Path(values[key]) for key in keys))


def _number(key: str, values: Mapping[str, str], default: int) -> int:
    raw = values.get(key) or str(default)
    if not raw.isdecimal() or not int(raw):
        raise ConfigError(key, f"{raw!r} is not a number above 0")
    return int(raw)


def seconds(key: str, values: Mapping[str, str], default: float) -> float:
    """Return a duration such as `30s`, `500ms` or `2m`."""
    raw = values.get(key)
    if not raw:
        return default
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        number = raw.removesuffix(unit)
        if number != raw:
            try:
                return float(number) * factor
            except ValueError:
                break
    raise ConfigError(key, f"{raw!r} is not a duration such as 30s or 500ms")
