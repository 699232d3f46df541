# SPDX-License-Identifier: Apache-2.0
"""The operator's settings: one file per key in a directory, overridden by the environment.

The keys are upstream's (`cluster-pool-ipv4-cidr` …), the environment's names are theirs with
`CILIUM_` in front. Read once at start; immutable afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cilium_core.addresses import Network
from cilium_core.cidr import first_overlap, overlaps, parse_network
from cilium_core.errors import ConfigError, FieldError
from cilium_core.process.settings import Source, read_directory, read_environment

DEFAULT_DIRECTORY = Path("/etc/cilium/config")
TAINT_KEY = "node.cilium.io/agent-not-ready"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class PoolSettings(msgspec.Struct, frozen=True):
    """Ranges of one family and the prefix length of each node's share."""

    networks: tuple[Network, ...]
    mask: int


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the operator can be told. Times are seconds."""

    pools: Mapping[int, PoolSettings]
    service_networks: tuple[Network, ...] = ()
    namespace: str = "kube-system"
    agent_labels: str = "k8s-app=cilium"
    taint_key: str = TAINT_KEY
    remove_taints: bool = True
    set_taints: bool = False
    set_up_condition: bool = True
    skip_crd_creation: bool = False
    identity_gc_interval: float = 900.0
    identity_heartbeat_timeout: float = 1800.0
    endpoint_gc_interval: float = 300.0
    node_gc_interval: float = 300.0
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    prometheus_address: tuple[str, int] | None = ("0.0.0.0", 9963)
    health_address: tuple[str, int] = ("127.0.0.1", 9234)
    cluster_name: str = "default"
    keep_certificates: bool = False
    certificate_days: int = 365
    relay_server_certificate: bool = False
    debug: bool = False


class _Source(Source):
    """The types that only the operator's settings have."""

    def integer(self, key: str, default: int) -> int:
        raw = self.text(key, str(default))
        if not raw.isdecimal():
            raise ConfigError(key, f"{raw!r} is not a number")
        return int(raw)

    def duration(self, key: str, default: float) -> float:
        raw = self.text(key, "")
        if not raw:
            return default
        if raw == "0":
            return 0.0
        parts = _DURATION.findall(raw)
        if "".join(number + unit for number, unit in parts) != raw:
            raise ConfigError(key, f"{raw!r} is not a duration such as 15m or 1h30m0s")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def networks(self, key: str, default: str) -> tuple[Network, ...]:
        words = self.text(key, default).replace(",", " ").split()
        try:
            return tuple(parse_network(key, word) for word in words)
        except FieldError as error:
            raise ConfigError(key, error.reason) from error


def parse(values: Mapping[str, str]) -> Settings:
    """Check the values and return the settings. ConfigError names the first wrong key."""
    source = _Source(values)
    _require(source, "ipam", ("cluster-pool",), "cluster-pool")
    _require(source, "identity-allocation-mode", ("crd",), "crd")
    pools = _pools(source)
    services = source.networks("service-cidrs", "")
    for settings in pools.values():
        _reject_overlap_with_services(settings, services)
    lease = source.duration("leader-election-lease-duration", 15.0)
    renew = source.duration("leader-election-renew-deadline", 10.0)
    retry = source.duration("leader-election-retry-period", 2.0)
    if not 0 < retry < renew < lease:
        raise ConfigError(
            "leader-election-renew-deadline",
            f"must lie between the retry period ({retry:g} s) and the lease ({lease:g} s)",
        )
    return Settings(
        pools=pools,
        service_networks=services,
        namespace=source.text("cilium-pod-namespace", source.text("k8s-namespace", "kube-system")),
        agent_labels=source.text("cilium-pod-labels", "k8s-app=cilium"),
        taint_key=source.text("agent-not-ready-taint-key", TAINT_KEY),
        remove_taints=source.boolean("remove-cilium-node-taints", True),
        set_taints=source.boolean("set-cilium-node-taints", False),
        set_up_condition=source.boolean("set-cilium-is-up-condition", True),
        skip_crd_creation=source.boolean("skip-crd-creation", False),
        identity_gc_interval=source.duration("identity-gc-interval", 900.0),
        identity_heartbeat_timeout=source.duration("identity-heartbeat-timeout", 1800.0),
        endpoint_gc_interval=source.duration("cilium-endpoint-gc-interval", 300.0),
        node_gc_interval=source.duration("nodes-gc-interval", 300.0),
        lease_duration=lease,
        renew_deadline=renew,
        retry_period=retry,
        prometheus_address=_metrics_address(source),
        health_address=source.address("operator-api-serve-addr", "127.0.0.1:9234"),
        cluster_name=source.text("cluster-name", "default"),
        keep_certificates=source.boolean("certificates-hubble", False),
        certificate_days=_days(source),
        relay_server_certificate=source.boolean("certificates-relay-server", False),
        debug=source.boolean("debug", False),
    )


def load(directory: Path, environment: Mapping[str, str]) -> Settings:
    """Read and check the settings of this process. A directory that does not exist has no keys."""
    files = read_directory(directory) if directory.is_dir() else {}
    return parse({**files, **read_environment(environment)})


def _require(source: _Source, key: str, accepted: tuple[str, ...], default: str) -> None:
    value = source.text(key, default)
    if value not in accepted:
        raise ConfigError(key, f"{value!r} is not supported; use {' or '.join(accepted)}")


def _days(source: _Source) -> int:
    days = source.integer("certificates-validity-days", 365)
    if not 2 <= days <= 825:
        raise ConfigError("certificates-validity-days", f"{days} is not from 2 to 825")
    return days


def _metrics_address(source: _Source) -> tuple[str, int] | None:
    if not source.boolean("enable-metrics", True):
        return None
    return source.address("operator-prometheus-serve-addr", ":9963")


def _pools(source: _Source) -> dict[int, PoolSettings]:
    defaults = {4: ("10.0.0.0/8", 24, True), 6: ("fd00::/104", 120, False)}
    pools: dict[int, PoolSettings] = {}
    for family, (cidr, mask, enabled) in defaults.items():
        if source.boolean(f"enable-ipv{family}", enabled):
            key = f"cluster-pool-ipv{family}-cidr"
            networks = source.networks(key, cidr)
            mask_key = f"cluster-pool-ipv{family}-mask-size"
            pools[family] = PoolSettings(networks, source.integer(mask_key, mask))
            _check_pool(key, mask_key, family, pools[family])
    if not pools:
        raise ConfigError("enable-ipv4", "enable-ipv4 and enable-ipv6 are both false")
    return pools


def _check_pool(key: str, mask_key: str, family: int, pool: PoolSettings) -> None:
    if not pool.networks:
        raise ConfigError(key, f"is empty while IPv{family} is enabled")
    for network in pool.networks:
        if network.version != family:
            raise ConfigError(key, f"{network} is not an IPv{family} range")
        if not network.prefixlen <= pool.mask <= network.max_prefixlen - 2:
            raise ConfigError(
                mask_key,
                f"/{pool.mask} does not fit {network}; "
                f"use {network.prefixlen} to {network.max_prefixlen - 2}",
            )
    overlap = first_overlap(pool.networks)
    if overlap:
        raise ConfigError(key, f"{overlap[0]} and {overlap[1]} overlap")


def _reject_overlap_with_services(pool: PoolSettings, services: tuple[Network, ...]) -> None:
    for network in pool.networks:
        for service in services:
            if overlaps(network, service) and service.prefixlen <= network.prefixlen:
                raise ConfigError(
                    f"cluster-pool-ipv{network.version}-cidr",
                    f"{network} lies wholly in the service range {service}",
                )
