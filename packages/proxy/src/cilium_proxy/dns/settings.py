# SPDX-License-Identifier: Apache-2.0
"""The DNS proxy's settings, under upstream's names where upstream has one. Read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dns.rcode
import msgspec

from cilium_core.errors import ConfigError
from cilium_core.process.settings import Source, read_directory, read_environment

DEFAULT_DIRECTORY = Path("/etc/cilium/config")
MOST = 8192  # questions in hand, whatever is asked for: each needs a file descriptor
PER_CLIENT = 1024
CONNECTIONS = 4096
CONNECTIONS_PER_CLIENT = 256
FORWARD_SECONDS = 10.0

_REFUSALS = {"refused": dns.rcode.REFUSED, "nameError": dns.rcode.NXDOMAIN}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the DNS proxy can be told. Times are seconds."""

    run_dir: Path = Path("/var/run/cilium")
    versions: tuple[int, ...] = (4, 6)
    refusal: int = dns.rcode.REFUSED
    longest_hold: float = 0.1
    most: int = MOST
    grace: float = 0.0
    metrics_address: tuple[str, int] | None = None
    health_address: tuple[str, int] | None = None
    debug: bool = False

    @property
    def agent_socket(self) -> Path:
        """Where the agent serves `Proxies`."""
        return self.run_dir / "proxies.sock"

    @property
    def names_socket(self) -> Path:
        """Where the agent takes answers."""
        return self.run_dir / "names.sock"

    @property
    def access_socket(self) -> Path:
        """Where hubble serves `AccessRecords`."""
        return self.run_dir / "access.sock"

    @property
    def memory(self) -> Path:
        """The rules of the last run."""
        return self.run_dir / "proxy" / "dns.rules"


def load(directory: Path, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Read and check the settings; flags win over all else. ConfigError names a wrong one."""
    values = {**read_directory(directory), **read_environment(environment), **flags}
    source = Source(values)
    limit = _number(source, "dnsproxy-concurrency-limit")
    return Settings(
        run_dir=Path(values.get("state-dir") or "/var/run/cilium"),
        versions=_versions(source),
        refusal=_refusal(source, "tofqdns-dns-reject-response-code"),
        longest_hold=source.seconds("tofqdns-proxy-response-max-delay", "100ms"),
        most=min(limit, MOST) or MOST,
        grace=source.seconds("dnsproxy-concurrency-processing-grace-period", "0s"),
        metrics_address=source.optional_address("dnsproxy-metrics-server", ""),
        health_address=source.optional_address("dnsproxy-health-server", ""),
        debug=source.boolean("debug", False),
    )


def raise_file_limit() -> None:
    """Let this process have as many open files as it may."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _versions(source: Source) -> tuple[int, ...]:
    wanted = {4: "enable-ipv4", 6: "enable-ipv6"}
    found = tuple(version for version, key in wanted.items() if source.boolean(key, True))
    if not found:
        raise ConfigError("enable-ipv4", "and enable-ipv6 are both false; one is needed")
    return tuple(version for version in found if version == 4 or _has_ipv6_loopback())


def _has_ipv6_loopback() -> bool:
    try:
        return f"{1:032x} " in Path("/proc/net/if_inet6").read_text()
    except OSError:  # a kernel without IPv6
        return False


def _refusal(source: Source, key: str) -> int:
    raw = source.text(key, "") or "refused"
    if raw not in _REFUSALS:
        raise ConfigError(key, f"{raw!r} is not {' or '.join(_REFUSALS)}")
    return _REFUSALS[raw]


def _number(source: Source, key: str) -> int:
    raw = source.text(key, "0")
    if not raw.isdecimal():
        raise ConfigError(key, f"{raw!r} is not a number (0 is no limit)")
    return int(raw)
