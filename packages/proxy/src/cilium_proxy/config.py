# SPDX-License-Identifier: Apache-2.0
"""The settings: one file per key in a directory, then the environment, then flags.

The directory is the agent's (the ConfigMap): keys that are not named here are for others. Read
once at start; immutable afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cilium_core.errors import ConfigError
from cilium_core.process.settings import Source, read_directory, read_environment
from cilium_proxy.redact import Redaction
from cilium_proxy.translate import sockets

DEFAULT_DIRECTORY = Path("/etc/cilium/config")
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the controller and the bootstrap can be told."""

    node_name: str
    run_dir: Path = Path("/var/run/cilium")
    metrics_address: Address | None = ("0.0.0.0", 9967)
    health_address: Address | None = ("127.0.0.1", 9877)
    envoy_metrics_address: Address | None = ("0.0.0.0", 9964)
    envoy_health_address: Address | None = ("127.0.0.1", 9878)
    upstream_ports: tuple[int, int] = sockets.PORTS
    record_headers: tuple[str, ...] = ()
    redaction: Redaction = Redaction()
    debug: bool = False

    @property
    def agent_socket(self) -> Path:
        """Where the agent tells rule sets."""
        return self.run_dir / "proxies.sock"

    @property
    def hubble_socket(self) -> Path:
        """Where hubble takes records."""
        return self.run_dir / "access.sock"

    @property
    def envoy_sockets(self) -> Path:
        """The folder of the sockets between Envoy and the controller."""
        return self.run_dir / "envoy" / "sockets"

    @property
    def memory(self) -> Path:
        """The file that holds the last rule sets."""
        return self.run_dir / "envoy" / "rules"


def load(directory: Path, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Read and check the settings of this process; flags win over all else."""
    values = {**read_directory(directory), **read_environment(environment), **flags}
    source = Source(values)
    node_name = environment.get("K8S_NODE_NAME", "").strip()
    if not node_name:
        raise ConfigError("K8S_NODE_NAME", "is not set; the pod gets it from spec.nodeName")
    return Settings(
        node_name=node_name,
        run_dir=Path(values.get("state-dir") or "/var/run/cilium"),
        metrics_address=source.optional_address("proxy-metrics-server", ":9967"),
        health_address=source.optional_address("proxy-health-server", "127.0.0.1:9877"),
        envoy_metrics_address=_port(source, "proxy-prometheus-port", "0.0.0.0", "9964"),
        envoy_health_address=_port(source, "envoy-health-port", "127.0.0.1", "9878"),
        upstream_ports=_range(source, "proxy-upstream-ports", "61000-65535"),
        record_headers=tuple(sorted(_names(source, "proxy-record-headers"))),
        redaction=_redaction(source),
        debug=source.boolean("debug", False),
    )


def _redaction(source: Source) -> Redaction:
    allow = _names(source, "hubble-redact-http-headers-allow")
    deny = _names(source, "hubble-redact-http-headers-deny")
    if allow and deny:
        raise ConfigError("hubble-redact-http-headers-deny", "goes without …-headers-allow")
    return Redaction(
        enabled=source.boolean("hubble-redact-enabled", False),
        url_query=source.boolean("hubble-redact-http-urlquery", False),
        user_info=source.boolean("hubble-redact-http-userinfo", True),
        kafka_api_key=source.boolean("hubble-redact-kafka-apikey", False),
        headers_allow=allow,
        headers_deny=deny,
    )


def _names(source: Source, key: str) -> frozenset[str]:
    return frozenset(name.lower() for name in re.split(r"[\s,]+", source.text(key, "")) if name)


def _port(source: Source, key: str, host: str, default: str) -> Address | None:
    raw = source.text(key, default)
    if raw in ("", "0"):
        return None
    if not _is_port(raw):
        raise ConfigError(key, f"{raw!r} is not a port")
    return host, int(raw)


def _range(source: Source, key: str, default: str) -> tuple[int, int]:
    raw = source.text(key, default)
    low, _, high = raw.partition("-")
    if not _is_port(low) or not _is_port(high) or int(low) > int(high):
        raise ConfigError(key, f"{raw!r} is not two ports, as in {default}")
    return int(low), int(high)


def _is_port(text: str) -> bool:
    return text.isdecimal() and text.isascii() and 0 < int(text) < 65536
