# SPDX-License-Identifier: Apache-2.0
"""The DNS proxy's settings: upstream's keys, durations, what is wrong by its name."""

from __future__ import annotations

from pathlib import Path

import dns.rcode
import pytest

from cilium_core.errors import ConfigError
from cilium_proxy.dns.settings import MOST, Settings, load


def read(path: Path, **values: str) -> Settings:
    return load(path, {}, {key.replace("_", "-"): value for key, value in values.items()})


def test_defaults_are_upstreams(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.refusal, found.longest_hold, found.most) == (dns.rcode.REFUSED, 0.1, MOST)
    assert found.agent_socket == Path("/var/run/cilium/proxies.sock")


def test_keys(tmp_path: Path) -> None:
    (tmp_path / "tofqdns-dns-reject-response-code").write_text("nameError\n")
    found = read(
        tmp_path,
        tofqdns_proxy_response_max_delay="1m0.5s",
        dnsproxy_concurrency_limit="100",
        dnsproxy_concurrency_processing_grace_period="250ms",
        dnsproxy_metrics_server=":9966",
        dnsproxy_health_server="127.0.0.1:9876",
        enable_ipv6="false",
    )
    assert found.refusal == dns.rcode.NXDOMAIN
    assert (found.longest_hold, found.most, found.grace) == (60.5, 100, 0.25)
    assert (found.versions, found.metrics_address) == ((4,), ("0.0.0.0", 9966))
    assert found.health_address == ("127.0.0.1", 9876)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tofqdns-dns-reject-response-code", "servfail"),
        ("tofqdns-proxy-response-max-delay", "fast"),
        ("dnsproxy-concurrency-limit", "-1"),
        ("dnsproxy-metrics-server", "nowhere"),
        ("enable-ipv4", "maybe"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, {key: value})
    assert caught.value.field == key
