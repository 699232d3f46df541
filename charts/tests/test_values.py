# SPDX-License-Identifier: Apache-2.0
"""Values: what is refused names its key, what is accepted is what this version does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .conftest import CHART, Render

UPSTREAM: list[dict[str, Any]] = yaml.safe_load(
    (CHART / "files" / "upstream-values.yaml").read_text()
)["values"]
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
# Maps whose keys are the user's own, or Kubernetes' (which validates them itself).
FREE = {"resources", "affinity", "global"}
STRINGS = {"nodeSelector", "podAnnotations", "podLabels", "annotations"}


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return {a: {b: value}} for the key a.b."""
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nonsense", 1),
        ("hubble.nonsense", True),
        ("operator.image.nonsense", "x"),
        ("serviceAccounts.ui", {"name": "x"}),
        ("hubble.listenAddress", "4244"),
        ("hubble.tls.auto.method", "certmanager"),
        ("hubble.tls.auto.certValidityDuration", 1),
        ("hubble.relay.sortBufferLenMax", 0),
        ("hubble.relay.retryTimeout", "soon"),
        ("ipam.operator.nonsense", 1),
        ("ipam.mode", "eni"),
        ("ipv6.enabled", "maybe"),
        ("tunnel", "gre"),
        ("tunnel", "geneve"),
        ("tunnel", "disabled"),
        ("routingMode", "native"),
        ("tunnelProtocol", "geneve"),
        ("kubeProxyReplacement", False),
        ("kubeProxyReplacement", "partial"),
        ("ipam.operator.clusterPoolIPv4PodCIDRList", ["10.0.0.0/33"]),
        ("ipam.operator.clusterPoolIPv4PodCIDRList", []),
        ("ipam.operator.clusterPoolIPv6PodCIDRList", ["10.0.0.0/8"]),
        ("ipv4NativeRoutingCIDR", "fd00::/16"),
        ("ipv4NativeRoutingCIDR", "10.0.0.0/8 10.1.0.0/16"),
        ("ipv6NativeRoutingCIDR", "10.0.0.0/8"),
        ("MTU", 500),
        ("operator.replicas", -1),
        ("operator.identityGCInterval", "soon"),
        ("image.digest", "abc"),
        ("image.useDigest", True),
        ("cluster.name", "Not A Name"),
        ("ipv4.enabled", False),
    ],
)
def test_bad_value_names_its_key(render: Render, key: str, value: Any) -> None:
    rendered = render(nested(key, value))
    assert rendered.code != 0
    parent, _, leaf = key.rpartition(".")
    assert key in rendered.error or (
        f"- {parent or '(root)'}: " in rendered.error and leaf in rendered.error
    ), rendered.error


@pytest.mark.parametrize(
    ("mtu", "good"),
    [
        (-1, False),
        (0, True),
        (10, False),
        (1279, False),
        (1280, True),
        (65535, True),
        (65536, False),
    ],
)
def test_mtu_out_of_range_is_told_the_range(render: Render, mtu: int, good: bool) -> None:
    rendered = render({"MTU": mtu})
    assert (rendered.code == 0) is good
    if not good:
        assert f"MTU: {mtu} is not possible; use 0" in rendered.error
        assert "1280 to 65535" in rendered.error


def test_sizes_of_tables_reach_the_config(render: Render) -> None:
    for none in ({}, {"bpf": None}, {"bpf": {"lbMapMax": None}}):
        assert not [key for key in render(none).config if key.startswith("bpf-")]
    config = render({"bpf": {"ctTcpMax": 16777216, "ctAnyMax": 1024, "lbMapMax": 2048}}).config
    assert config["bpf-ct-global-tcp-max"] == "16777216"
    assert config["bpf-ct-global-any-max"] == "1024"
    assert config["bpf-lb-map-max"] == "2048"


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"lbMapMax": 1023}, "bpf.lbMapMax: 1023 is not possible; use 1024 to 1048576"),
        ({"lbMapMax": 0}, "bpf.lbMapMax: 0 is not possible"),
        ({"ctTcpMax": 16777217, "ctAnyMax": 1024}, "bpf.ctTcpMax: 16777217 is not possible"),
        ({"ctTcpMax": 2048}, "bpf.ctTcpMax and bpf.ctAnyMax: set both or none"),
        ({"ctAnyMax": 2048}, "bpf.ctTcpMax and bpf.ctAnyMax: set both or none"),
    ],
)
def test_sizes_of_tables_that_cannot_be(render: Render, sizes: dict[str, int], said: str) -> None:
    rendered = render({"bpf": sizes})
    assert rendered.code != 0
    assert said in rendered.error


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"tunnel": "vxlan", "routingMode": "native"}, ("tunnel: vxlan", "routingMode: native")),
        (
            {"tunnel": "vxlan", "tunnelProtocol": "geneve"},
            ("tunnel: vxlan", "tunnelProtocol: geneve"),
        ),
        ({"tunnel": "disabled", "routingMode": "tunnel"}, ("tunnel: disabled", "routingMode")),
    ],
)
def test_contradiction_names_both(
    render: Render, values: dict[str, Any], named: tuple[str, str]
) -> None:
    error = render(values).error
    assert "contradicts" in error
    assert all(name in error for name in named)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tunnel": "vxlan"},
        {"routingMode": "tunnel"},
        {"routingMode": "tunnel", "tunnelProtocol": "vxlan"},
        {"tunnel": "vxlan", "routingMode": "tunnel", "tunnelProtocol": "vxlan"},
    ],
)
def test_old_and_new_spelling_mean_the_same(render: Render, values: dict[str, Any]) -> None:
    config = render(values).config
    assert (config["routing-mode"], config["tunnel-protocol"]) == ("tunnel", "vxlan")


@pytest.mark.parametrize("mask", [8, 30])
def test_node_mask_must_fit_its_pool(render: Render, mask: int) -> None:
    values = nested(
        "ipam.operator",
        {"clusterPoolIPv4PodCIDRList": ["10.0.0.0/16"], "clusterPoolIPv4MaskSize": mask},
    )
    rendered = render(values)
    assert (rendered.code == 0) is (mask >= 16)
    if mask < 16:
        assert "ipam.operator.clusterPoolIPv4MaskSize" in rendered.error
        assert "10.0.0.0/16" in rendered.error


def test_pools_reach_the_config(render: Render) -> None:
    pools = {
        "clusterPoolIPv4PodCIDRList": ["10.1.0.0/16", "10.2.0.0/16"],
        "clusterPoolIPv4MaskSize": 25,
    }
    config = render(nested("ipam.operator", pools)).config
    assert config["cluster-pool-ipv4-cidr"] == "10.1.0.0/16 10.2.0.0/16"
    assert config["cluster-pool-ipv4-mask-size"] == "25"


def test_native_routing_networks_reach_the_config(render: Render) -> None:
    assert not [key for key in render().config if "native-routing" in key]
    values = {"ipv4NativeRoutingCIDR": "10.0.0.0/8", "ipv6NativeRoutingCIDR": "fd00::/16"}
    config = render(values).config
    assert config["ipv4-native-routing-cidr"] == "10.0.0.0/8"
    assert config["ipv6-native-routing-cidr"] == "fd00::/16"


@pytest.mark.parametrize("entry", UPSTREAM, ids=lambda entry: entry["key"])
def test_unsupported_upstream_value_is_refused_by_name(
    render: Render, entry: dict[str, Any]
) -> None:
    rendered = render(nested(entry["key"], "something else"))
    assert rendered.code != 0
    assert f"{entry['key']}: " in rendered.error
    assert "supported by this version" in rendered.error


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def test_what_this_version_does_anyway_is_accepted(render: Render) -> None:
    values: dict[str, Any] = {}
    for entry in UPSTREAM:
        for accepted in entry["accept"]:
            merge(values, nested(entry["key"], accepted))
    rendered = render(values)
    assert rendered.code == 0, rendered.error
    assert rendered.text == render().text


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "object":
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from objects(part, f"{path}.{name}".strip("."))
    for part in schema.get("oneOf", []):
        yield from objects(part, path)


def test_schema_is_closed() -> None:
    found = dict(objects(SCHEMA))
    assert len(found) > 40
    for path, schema in found.items():
        leaf = path.rpartition(".")[2]
        if leaf in FREE:
            continue
        expected: Any = {"type": "string"} if leaf in STRINGS else False
        assert schema.get("additionalProperties") == expected, path


def test_every_upstream_key_is_in_the_schema_and_no_default() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for entry in UPSTREAM:
        at: Any = SCHEMA
        value: Any = defaults
        for part in entry["key"].split("."):
            at = at["properties"][part]
            value = value.get(part) if isinstance(value, dict) else None
        assert value is None, f"{entry['key']} is supported: take it off the list"


def test_every_default_is_in_the_schema() -> None:
    def walk(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        for key, value in values.items():
            if "properties" not in schema:
                return
            assert key in schema["properties"], f"{path}.{key}"
            if isinstance(value, dict):
                walk(value, schema["properties"][key], f"{path}.{key}")

    walk(yaml.safe_load((CHART / "values.yaml").read_text()), SCHEMA, "")
