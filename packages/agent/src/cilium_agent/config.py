# SPDX-License-Identifier: Apache-2.0
"""The agent's settings: one file per key in a directory, then the environment, then flags.

Keys are upstream's (`tunnel-protocol` …); the environment's names are theirs with `CILIUM_` in
front. A value that the agent cannot honour is an error that names the key. Read once at start;
immutable afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cilium_core.addresses import Network
from cilium_core.cidr import parse_network
from cilium_core.errors import ConfigError, FieldError
from cilium_core.fqdn.limits import Limits
from cilium_core.layouts.sizes import MapSizes
from cilium_core.process.settings import Source, read_directory, read_environment

DEFAULT_DIRECTORY = Path("/etc/cilium/config")
# Read elsewhere than here: by the k8s client, by the operator, or by scripts of the pod.
_NOT_OURS = (
    "hubble-",
    "certificates-",
    "k8s-",
    "cluster-pool-",
    "operator-",
    "identity-",
    "cilium-",
    "leader-election-",
)
_CONNECTION_KEYS = ("bpf-ct-global-tcp-max", "bpf-ct-global-any-max")
_CONNECTIONS = (1 << 10, 1 << 24)  # upstream's bounds of each of its tables
_SERVICES = (1 << 10, 1 << 20)  # the slots' table takes 64 bytes of each, empty
_OTHERS_KEYS = frozenset(
    {
        "loader-python",
        "run-dir",
        "service-cidrs",
        "nodes-gc-interval",
        "remove-cilium-node-taints",
        "set-cilium-node-taints",
        "set-cilium-is-up-condition",
        "skip-crd-creation",
        "agent-not-ready-taint-key",
    }
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the agent can be told. Addresses are (host, port)."""

    node_name: str
    cluster_name: str = "default"
    cluster_id: int = 0
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    masquerade_ipv4: bool = True
    masquerade_ipv6: bool = True
    mtu: int = 0
    cni_exclusive: bool = True
    cni_conf_dir: Path = Path("/host/etc/cni/net.d")
    run_dir: Path = Path("/var/run/cilium")
    bpf_root: Path = Path("/sys/fs/bpf/cilium")
    cgroup_root: Path = Path("/sys/fs/cgroup")
    native_routing: tuple[Network, ...] = ()
    labels: tuple[str, ...] = ()
    policy_enforcement: str = "default"
    enable_hubble: bool = True
    external_envoy: bool = True  # DaemonSet cilium-envoy is installed
    names: Limits = Limits()
    preallocate_names: bool = True
    features_not_available: tuple[str, ...] = ()
    health_address: tuple[str, int] = ("127.0.0.1", 9879)
    prometheus_address: tuple[str, int] | None = ("0.0.0.0", 9962)
    kubeconfig: Path | None = None
    api_servers: str = ""
    map_sizes: MapSizes = MapSizes()
    debug: bool = False


class _Source(Source):
    """The types that only the agent's settings have."""

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        raw = self.text(key, str(default))
        if not raw.isdecimal() or not low <= int(raw) <= high:
            raise ConfigError(key, f"{raw!r} is not a number from {low} to {high}")
        return int(raw)

    def network(self, key: str, version: int) -> tuple[Network, ...]:
        raw = self.text(key, "")
        if not raw:
            return ()
        try:
            found = parse_network(key, raw)
        except FieldError as error:
            raise ConfigError(key, error.reason) from error
        if found.version != version:
            raise ConfigError(key, f"{raw} is not an IPv{version} CIDR")
        return (found,)

    def one_of(self, key: str, *accepted: str) -> str:
        value = self.text(key, accepted[0])
        if value not in accepted:
            raise ConfigError(key, f"{value!r} is none of {', '.join(accepted)}")
        return value

    def only(self, key: str, *accepted: str) -> None:
        value = self.text(key, accepted[0])
        if value not in accepted:
            raise ConfigError(key, f"{value!r} is not supported; use {' or '.join(accepted)}")


def parse(values: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Check the values and return the settings. ConfigError names the first wrong key."""
    source = _Source(values)
    source.only("routing-mode", "tunnel")
    source.only("tunnel-protocol", "vxlan")
    source.only("kube-proxy-replacement", "true")
    source.only("ipam", "cluster-pool")
    source.only("identity-allocation-mode", "crd")
    mtu = source.integer("mtu", 0, 0, 65535)
    if 0 < mtu < 1280:
        raise ConfigError("mtu", f"{mtu} is too small for IPv6; use 0 (detect) or 1280 and more")
    settings = Settings(
        node_name=environment.get("K8S_NODE_NAME", "").strip(),
        cluster_name=source.text("cluster-name", "default"),
        cluster_id=source.integer("cluster-id", 0, 0, 255),
        enable_ipv4=source.boolean("enable-ipv4", True),
        enable_ipv6=source.boolean("enable-ipv6", False),
        masquerade_ipv4=source.boolean("enable-ipv4-masquerade", True),
        masquerade_ipv6=source.boolean("enable-ipv6-masquerade", True),
        mtu=mtu,
        cni_exclusive=source.boolean("cni-exclusive", True),
        cni_conf_dir=Path(source.text("cni-conf-dir", "/host/etc/cni/net.d")),
        run_dir=Path(source.text("state-dir", "/var/run/cilium")),
        bpf_root=Path(source.text("bpf-root", "/sys/fs/bpf")) / "cilium",
        cgroup_root=Path(source.text("cgroup-root", "/sys/fs/cgroup")),
        native_routing=(
            *source.network("ipv4-native-routing-cidr", 4),
            *source.network("ipv6-native-routing-cidr", 6),
        ),
        labels=tuple(source.text("labels", "").split()),
        policy_enforcement=source.one_of("enable-policy", "default", "always", "never"),
        enable_hubble=source.boolean("enable-hubble", True),
        external_envoy=source.boolean("external-envoy-proxy", True),
        names=_names(source),
        preallocate_names=source.boolean("tofqdns-preallocate-identities", True),
        features_not_available=_words(source.text("features-not-available", "")),
        health_address=source.address("agent-health-addr", "127.0.0.1:9879"),
        prometheus_address=_prometheus(source),
        kubeconfig=_path(source.text("k8s-kubeconfig-path", "")),
        api_servers=source.text("k8s-api-servers", ""),
        map_sizes=_map_sizes(source),
        debug=source.boolean("debug", False),
    )
    _check(settings)
    _reject_unknown(values, source.asked)
    return settings


def load(directory: Path, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Read and check the settings of this process; flags win over all else."""
    return parse(
        {**read_directory(directory), **read_environment(environment), **flags}, environment
    )


def _check(settings: Settings) -> None:
    if not settings.node_name:
        raise ConfigError("K8S_NODE_NAME", "is not set; the pod gets it from spec.nodeName")
    if not (settings.enable_ipv4 or settings.enable_ipv6):
        raise ConfigError("enable-ipv4", "enable-ipv4 and enable-ipv6 are both false")
    if not settings.cluster_name:
        raise ConfigError("cluster-name", "is empty")


def _reject_unknown(values: Mapping[str, str], asked: set[str]) -> None:
    for key in sorted(values):
        if key not in asked and key not in _OTHERS_KEYS and not key.startswith(_NOT_OURS):
            raise ConfigError(key, "is not a key that the agent knows; remove it")


def _prometheus(source: _Source) -> tuple[str, int] | None:
    raw = source.text("prometheus-serve-addr", ":9962")
    return source.address("prometheus-serve-addr", ":9962") if raw else None


def _map_sizes(source: _Source) -> MapSizes:
    """Read upstream's sizes; the connection table is one here, as large as its two together."""
    defaults = MapSizes()
    parts = []
    for key in _CONNECTION_KEYS:
        if source.text(key, ""):
            parts.append(source.integer(key, 0, *_CONNECTIONS))
    if len(parts) == 1:
        raise ConfigError(" and ".join(_CONNECTION_KEYS), "are set both or not at all")
    return MapSizes(
        connections=sum(parts) or defaults.connections,
        services=source.integer("bpf-lb-map-max", defaults.services, *_SERVICES),
    )


def _names(source: _Source) -> Limits:
    """Read how much is remembered of DNS answers."""
    defaults = Limits()
    return Limits(
        min_ttl=source.integer("tofqdns-min-ttl", 0, 0, int(defaults.longest_ttl)),
        per_name=source.integer(
            "tofqdns-endpoint-max-ip-per-hostname", defaults.per_name, 1, defaults.pairs
        ),
        deferred=source.integer(
            "tofqdns-max-deferred-connection-deletes", defaults.deferred, 0, 1 << 20
        ),
        idle_grace=source.seconds("tofqdns-idle-connection-grace-period", "0s"),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _path(text: str) -> Path | None:
    return Path(text) if text else None
