# SPDX-License-Identifier: Apache-2.0
"""Settings: sources in order, and every bad value named by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cilium_agent import config
from cilium_core.errors import ConfigError
from cilium_core.layouts.sizes import MapSizes

ENVIRONMENT = {"K8S_NODE_NAME": "node1"}


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", "-")).write_text(text)
    return folder


def test_files_then_environment_then_flags(tmp_path: Path) -> None:
    write(tmp_path, cluster_name="one", mtu="1400", enable_ipv6="true\n")
    (tmp_path / "..data").mkdir()  # what Kubernetes keeps in a mounted ConfigMap
    environment = {**ENVIRONMENT, "CILIUM_MTU": "1450", "CILIUM_CLUSTER_NAME": "two"}
    settings = config.load(tmp_path, environment, {"mtu": "9000"})
    assert (settings.cluster_name, settings.mtu, settings.enable_ipv6) == ("two", 9000, True)
    assert settings.node_name == "node1"
    assert settings.native_routing == ()


def test_native_routing_networks(tmp_path: Path) -> None:
    write(tmp_path, ipv4_native_routing_cidr="10.0.0.0/8", ipv6_native_routing_cidr="fd00::/16")
    found = config.load(tmp_path, ENVIRONMENT, {}).native_routing
    assert [str(network) for network in found] == ["10.0.0.0/8", "fd00::/16"]


def test_empty_directory_gives_the_defaults(tmp_path: Path) -> None:
    settings = config.load(tmp_path, ENVIRONMENT, {})
    assert settings.health_address == ("127.0.0.1", 9879)
    assert settings.prometheus_address == ("0.0.0.0", 9962)
    assert settings.enable_ipv4
    assert not settings.enable_ipv6


def test_sizes_of_maps(tmp_path: Path) -> None:
    assert config.load(tmp_path, ENVIRONMENT, {}).map_sizes == MapSizes()
    write(tmp_path, bpf_ct_global_tcp_max="500000", bpf_ct_global_any_max="100000")
    write(tmp_path, bpf_lb_map_max="2048")
    found = config.load(tmp_path, ENVIRONMENT, {}).map_sizes
    assert (found.connections, found.services) == (600000, 2048)


def test_the_connection_table_is_one_so_its_parts_come_together(tmp_path: Path) -> None:
    write(tmp_path, bpf_ct_global_tcp_max="500000")
    with pytest.raises(ConfigError, match="both or not at all"):
        config.load(tmp_path, ENVIRONMENT, {})
    write(tmp_path, bpf_ct_global_any_max="1023")
    with pytest.raises(
        ConfigError, match="bpf-ct-global-any-max: '1023' is not a number from 1024"
    ):
        config.load(tmp_path, ENVIRONMENT, {})


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    write(tmp_path, prometheus_serve_addr="")
    assert config.load(tmp_path, ENVIRONMENT, {}).prometheus_address is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable-ipv4", "yes"),
        ("mtu", "big"),
        ("mtu", "100"),
        ("mtu", "-1"),
        ("routing-mode", "native"),
        ("tunnel-protocol", "geneve"),
        ("kube-proxy-replacement", "false"),
        ("ipam", "kubernetes"),
        ("identity-allocation-mode", "kvstore"),
        ("cluster-id", "256"),
        ("cluster-name", ""),
        ("ipv4-native-routing-cidr", "10.0.0.1/8"),
        ("ipv4-native-routing-cidr", "fd00::/16"),
        ("ipv6-native-routing-cidr", "10.0.0.0/8"),
        ("agent-health-addr", "9879"),
        ("prometheus-serve-addr", ":99999"),
        ("tunel-protocol", "vxlan"),
    ],
)
def test_a_bad_value_names_its_key(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / key).write_text(value)
    with pytest.raises(ConfigError) as failure:
        config.load(tmp_path, ENVIRONMENT, {})
    assert failure.value.field == key


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="K8S_NODE_NAME"):
        config.load(tmp_path, {}, {})
    with pytest.raises(ConfigError, match="config-dir"):
        config.load(tmp_path / "absent", ENVIRONMENT, {})
    off = {"enable-ipv4": "false"}
    with pytest.raises(ConfigError, match="both false"):
        config.load(tmp_path, ENVIRONMENT, off)


def test_keys_of_the_operator_are_not_ours(tmp_path: Path) -> None:
    write(tmp_path, identity_gc_interval="15m", service_cidrs="10.96.0.0/16")
    write(tmp_path, cluster_pool_ipv4_cidr="10.0.0.0/8")
    config.load(tmp_path, ENVIRONMENT, {})
