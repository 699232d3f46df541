# SPDX-License-Identifier: Apache-2.0
"""The daemon's settings: one file per key in a directory, then the environment, then flags.

The directory is the agent's (the ConfigMap): keys that do not begin with `hubble-` are the agent's
to check. Read once at start; immutable afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cilium_core.errors import ConfigError
from cilium_core.process.settings import Source, read_directory, read_environment
from cilium_hubble.flowmetrics.options import Asked, parse
from cilium_hubble.history.writer import Limits
from cilium_hubble.tls import CertificateFiles

DEFAULT_DIRECTORY = Path("/etc/cilium/config")
MAX_CAPACITY = 65535
LEAST_BYTES = 16 << 20
LEAST_SECONDS = 60
_HISTORY = Path("/var/lib/cilium/hubble/flows.db")
_OWN_PREFIX = "hubble-"
_TLS = Path("/var/lib/cilium/tls/hubble")
_TLS_FILES = {  # key to default
    "hubble-tls-cert-file": _TLS / "server.crt",
    "hubble-tls-key-file": _TLS / "server.key",
    "hubble-tls-client-ca-files": _TLS / "client-ca.crt",
}
_KNOWN = {
    "hubble-history-enabled",
    "hubble-history-path",
    "hubble-history-max-bytes",
    "hubble-history-max-age",
    "hubble-socket-path",
    "hubble-event-buffer-capacity",
    "hubble-metrics",
    "hubble-metrics-server",
    "hubble-listen-address",
    "hubble-disable-tls",
    *_TLS_FILES,
}


class HistorySettings(msgspec.Struct, frozen=True):
    """Where older flows are kept, and how many."""

    path: Path
    limits: Limits


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the daemon can be told. `capacity` is in flows; addresses are (host, port)."""

    node_name: str
    cluster_name: str = "default"
    run_dir: Path = Path("/var/run/cilium")
    bpf_root: Path = Path("/sys/fs/bpf/cilium")
    socket: Path = Path("/var/run/cilium/hubble.sock")
    capacity: int = 4095
    metrics_address: tuple[str, int] | None = ("0.0.0.0", 9965)
    metrics: tuple[Asked, ...] = ()
    listen_address: tuple[str, int] | None = None
    certificates: CertificateFiles | None = CertificateFiles(*_TLS_FILES.values())  # or clear text
    history: HistorySettings | None = None
    debug: bool = False

    @property
    def access_socket(self) -> Path:
        """Where the proxies push what they saw."""
        return self.run_dir / "access.sock"

    @property
    def monitor_socket(self) -> Path:
        """Where events are told as lines."""
        return self.run_dir / "monitor.sock"

    @property
    def node_state_socket(self) -> Path:
        """Where the agent tells what it knows."""
        return self.run_dir / "nodestate.sock"


def load(directory: Path, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Read and check the settings of this process; flags win over all else."""
    values = {**read_directory(directory), **read_environment(environment), **flags}
    source = Source(values)
    for key in sorted(values):
        if key.startswith(_OWN_PREFIX) and key not in _KNOWN:
            raise ConfigError(key, "is not a key that hubble knows; remove it")
    node_name = environment.get("K8S_NODE_NAME", "").strip()
    if not node_name:
        raise ConfigError("K8S_NODE_NAME", "is not set; the pod gets it from spec.nodeName")
    socket = values.get("hubble-socket-path", "/var/run/cilium/hubble.sock")
    return Settings(
        node_name=node_name,
        cluster_name=values.get("cluster-name") or "default",
        run_dir=Path(values.get("state-dir") or "/var/run/cilium"),
        bpf_root=Path(values.get("bpf-root") or "/sys/fs/bpf") / "cilium",
        socket=Path(socket.removeprefix("unix://")),
        capacity=_capacity(values.get("hubble-event-buffer-capacity", "4095")),
        metrics_address=source.optional_address("hubble-metrics-server", ":9965"),
        metrics=parse(values.get("hubble-metrics", "")),
        listen_address=source.optional_address("hubble-listen-address", "", every_host=""),
        certificates=None
        if source.boolean("hubble-disable-tls", False)
        else CertificateFiles(*(Path(values.get(key) or path) for key, path in _TLS_FILES.items())),
        history=_history(source),
        debug=source.boolean("debug", False),
    )


def _history(source: Source) -> HistorySettings | None:
    if not source.boolean("hubble-history-enabled", False):
        return None
    return HistorySettings(
        Path(source.text("hubble-history-path", str(_HISTORY))),
        Limits(
            _bytes(source, "hubble-history-max-bytes", "256Mi"),
            _seconds(source, "hubble-history-max-age", "24h"),
        ),
    )


def _bytes(source: Source, key: str, default: str) -> int:
    raw = source.text(key, default)
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti|)", raw)
    if found is None:
        raise ConfigError(key, f"{raw!r} is not a number of bytes such as 256Mi")
    number = int(found[1]) << {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}[found[2]]
    if not LEAST_BYTES <= number <= 1 << 50:
        raise ConfigError(key, f"{raw!r} is not between {LEAST_BYTES >> 20}Mi and 1024Ti")
    return number


def _seconds(source: Source, key: str, default: str) -> float:
    raw = source.text(key, default)
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", raw)
    total = (
        sum(int(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1), strict=True))
        if found
        else 0
    )
    if total < LEAST_SECONDS:
        raise ConfigError(key, f"{raw!r} is not a duration of a minute or more, such as 24h")
    return float(total)


def _capacity(raw: str) -> int:
    number = int(raw) if raw.isdecimal() else 0
    if not 0 < number <= MAX_CAPACITY or number & number + 1:
        below = f"one less than a power of two, at most {MAX_CAPACITY}: 4095, 8191, 16383 …"
        raise ConfigError("hubble-event-buffer-capacity", f"{raw!r} is not {below}")
    return number
