# SPDX-License-Identifier: Apache-2.0
"""Settings: defaults, sources, and errors that name the key."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from cilium_core.errors import ConfigError
from cilium_operator.config import load, parse


def test_defaults() -> None:
    settings = parse({})
    assert list(settings.pools) == [4]
    assert settings.pools[4].networks == (ip_network("10.0.0.0/8"),)
    assert settings.pools[4].mask == 24
    assert settings.identity_gc_interval == 900
    assert settings.prometheus_address == ("0.0.0.0", 9963)
    assert settings.health_address == ("127.0.0.1", 9234)


def test_environment_wins_over_the_directory(tmp_path: Path) -> None:
    (tmp_path / "identity-gc-interval").write_text("1h2m3s\n")
    (tmp_path / "cluster-pool-ipv4-cidr").write_text("10.1.0.0/16, 10.2.0.0/16")
    (tmp_path / "..data").mkdir()
    settings = load(tmp_path, {"CILIUM_CLUSTER_POOL_IPV4_MASK_SIZE": "26", "OTHER": "x"})
    assert settings.identity_gc_interval == 3723
    assert settings.pools[4].mask == 26
    assert len(settings.pools[4].networks) == 2


def test_a_directory_that_is_not_there_has_no_keys(tmp_path: Path) -> None:
    assert load(tmp_path / "no", {}) == load(tmp_path, {})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"cluster-pool-ipv4-cidr": "10.0.0.0/8 10.3.0.0/16"},
            "cluster-pool-ipv4-cidr: 10.0.0.0/8 and 10.3.0.0/16 overlap",
        ),
        ({"cluster-pool-ipv4-cidr": "10.0.0.1/8"}, "cluster-pool-ipv4-cidr: '10.0.0.1/8' is not"),
        ({"cluster-pool-ipv4-cidr": "fd00::/104"}, "fd00::/104 is not an IPv4 range"),
        ({"cluster-pool-ipv4-cidr": ""}, "cluster-pool-ipv4-cidr: is empty"),
        ({"cluster-pool-ipv4-mask-size": "4"}, "cluster-pool-ipv4-mask-size: /4 does not fit"),
        ({"cluster-pool-ipv4-mask-size": "x"}, "cluster-pool-ipv4-mask-size: 'x' is not a number"),
        ({"enable-ipv6": "yes"}, "enable-ipv6: 'yes' is neither true nor false"),
        ({"enable-ipv4": "false"}, "enable-ipv4 and enable-ipv6 are both false"),
        ({"identity-gc-interval": "15"}, "identity-gc-interval: '15' is not a duration"),
        ({"ipam": "eni"}, "ipam: 'eni' is not supported; use cluster-pool"),
        ({"identity-allocation-mode": "kvstore"}, "identity-allocation-mode: 'kvstore'"),
        ({"leader-election-renew-deadline": "1s"}, "leader-election-renew-deadline: must lie"),
        ({"operator-api-serve-addr": "9234"}, "operator-api-serve-addr: '9234' is not host:port"),
        (
            {"cluster-pool-ipv4-cidr": "10.96.0.0/20", "service-cidrs": "10.96.0.0/16"},
            "cluster-pool-ipv4-cidr: 10.96.0.0/20 lies wholly in the service range 10.96.0.0/16",
        ),
    ],
)
def test_errors_name_the_key(values: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(values)
    assert text in str(caught.value)


def test_metrics_can_be_turned_off() -> None:
    assert parse({"enable-metrics": "false"}).prometheus_address is None
