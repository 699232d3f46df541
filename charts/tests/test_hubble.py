# SPDX-License-Identifier: Apache-2.0
"""Relay, the Services around it, and who holds which certificate."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import ARTICLE, Render, Rendered
from .test_objects import pod_spec

RELAY = {"hubble": {"relay": {"enabled": True}}}


def mounted(spec: dict[str, Any], volume: str) -> dict[str, str]:
    """Return path in the volume to Secret and key."""
    (found,) = [one for one in spec["volumes"] if one["name"] == volume]
    return {
        item["path"]: f"{source['secret']['name']}/{item['key']}"
        for source in found["projected"]["sources"]
        for item in source["secret"]["items"]
    }


def test_relay_of_the_article(render: Render) -> None:
    rendered = render(None, "-f", str(ARTICLE))
    deployment = rendered.get("Deployment", "hubble-relay")
    spec = pod_spec(deployment)
    (container,) = spec["containers"]
    assert deployment["spec"]["replicas"] == 1
    assert container["command"] + container["args"] == [
        *("cilium-hubble", "relay", "--config-dir", "/etc/hubble-relay")
    ]
    assert container["readinessProbe"]["grpc"]["port"] == 4222
    assert {p["containerPort"] for p in container["ports"]} == {4245, 4222, 9966}
    assert "hostNetwork" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert mounted(spec, "tls") == {
        "client.crt": "hubble-relay-client-certs/tls.crt",
        "client.key": "hubble-relay-client-certs/tls.key",
        "hubble-server-ca.crt": "hubble-relay-client-certs/ca.crt",
    }
    config = rendered.get("ConfigMap", "hubble-relay-config")["data"]
    assert config["cluster-name"] == "kubernetes"
    assert config["peer-service"] == "hubble-peer.kube-system.svc.cluster.local.:443"
    (port,) = rendered.get("Service", "hubble-relay")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "grpc")


def test_nodes_listen_and_are_found_on_their_own_node(render: Render) -> None:
    rendered = render()
    spec = rendered.get("Service", "hubble-peer")["spec"]
    assert spec["internalTrafficPolicy"] == "Local"
    assert [(p["port"], p["targetPort"]) for p in spec["ports"]] == [(443, 4244)]
    assert spec["selector"] == {"k8s-app": "cilium"}
    agent = pod_spec(rendered.get("DaemonSet", "cilium"))
    assert mounted(agent, "hubble-tls") == {
        "server.crt": "hubble-server-certs/tls.crt",
        "server.key": "hubble-server-certs/tls.key",
        "client-ca.crt": "hubble-server-certs/ca.crt",
    }
    assert not [o for o in rendered.objects if "relay" in o["metadata"]["name"]]


def test_the_operator_makes_certificates_only_where_it_shall(render: Render) -> None:
    def rights(rendered: Rendered) -> list[dict[str, Any]]:
        rules = rendered.get("Role", "cilium-operator")["rules"]
        return [rule for rule in rules if "secrets" in rule["resources"]]

    server = {"hubble": {"relay": {"enabled": True, "tls": {"server": {"enabled": True}}}}}
    with_server = render(server)
    assert "hubble-relay-server-certs" in rights(with_server)[1]["resourceNames"]
    assert with_server.config["certificates-relay-server"] == "true"
    assert with_server.get("Service", "hubble-relay")["spec"]["ports"][0]["port"] == 443
    assert "hubble-relay-server-certs" not in rights(render(RELAY))[1]["resourceNames"]
    for values in (
        {"hubble": {"tls": {"auto": {"enabled": False}}}},
        {"hubble": {"tls": {"enabled": False}}},
        {"hubble": {"enabled": False}},
    ):
        without = render(values)
        assert not rights(without)
        assert "certificates-hubble" not in without.config


def test_in_the_clear(render: Render) -> None:
    rendered = render({"hubble": {"tls": {"enabled": False}, "relay": {"enabled": True}}})
    assert rendered.config["hubble-disable-tls"] == "true"
    config = rendered.get("ConfigMap", "hubble-relay-config")["data"]
    assert config["disable-client-tls"] == "true"
    assert config["peer-service"].endswith(":80")
    relay = pod_spec(rendered.get("Deployment", "hubble-relay"))
    assert [volume["name"] for volume in relay["volumes"]] == ["config"]


def test_relay_follows_its_config_and_needs_hubble(render: Render) -> None:
    def annotation(values: dict[str, Any]) -> str:
        deployment = render(values).get("Deployment", "hubble-relay")
        found: str = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    longer = {"hubble": {"relay": {"enabled": True, "retryTimeout": "60s"}}}
    assert annotation(RELAY) == annotation(RELAY) != annotation(longer)
    off = render({"hubble": {"enabled": False, "relay": {"enabled": True}}})
    assert not [o for o in off.objects if "hubble" in o["metadata"]["name"]]


@pytest.mark.parametrize("key", ["tls-hubble-client-cert-file", "sort-buffer-len-max"])
def test_keys_are_the_codes(render: Render, key: str) -> None:
    from cilium_hubble.relay.settings import KEYS

    config = render(RELAY).get("ConfigMap", "hubble-relay-config")["data"]
    assert key in config
    assert set(config) <= set(KEYS)


def test_history_is_on_the_nodes_disk(render: Render) -> None:
    rendered = render({"hubble": {"history": {"maxBytes": 1073741824, "maxAge": "1h30m"}}})
    assert rendered.config["hubble-history-enabled"] == "true"
    assert rendered.config["hubble-history-max-bytes"] == "1073741824"
    assert rendered.config["hubble-history-max-age"] == "1h30m"
    pod = rendered.get("DaemonSet", "cilium")["spec"]["template"]["spec"]
    hubble = next(one for one in pod["containers"] if one["name"] == "hubble")
    assert "/var/lib/cilium/hubble" in {mount["mountPath"] for mount in hubble["volumeMounts"]}
    off = render({"hubble": {"history": {"enabled": False}}})
    assert off.config["hubble-history-enabled"] == "false"
    assert "hubble-history-max-bytes" not in off.config


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("maxBytes", "lots", "is not a number of bytes such as 256Mi"),
        ("maxBytes", "8Mi", "8Mi is too little; 16Mi at least"),
        ("maxAge", "1d", "is not a duration of a minute or more"),
        ("maxAge", "", "is not a duration of a minute or more"),
    ],
)
def test_a_history_that_cannot_be_is_refused(
    render: Render, key: str, value: str, said: str
) -> None:
    rendered = render({"hubble": {"history": {key: value}}})
    assert rendered.code != 0
    assert f"hubble.history.{key}: " in rendered.error
    assert said in rendered.error


def test_metrics_of_flows(render: Render) -> None:
    asked = ["dns:query;ignoreAAAA", "httpV2:labelsContext=source_pod,destination_pod"]
    rendered = render({"hubble": {"metrics": {"enabled": asked}}})
    assert rendered.config["hubble-metrics"] == " ".join(asked)
    spec = rendered.get("Service", "hubble-metrics")["spec"]
    assert (spec["clusterIP"], spec["ports"][0]["port"]) == ("None", 9965)
    without = render({})
    assert "hubble-metrics" not in without.config
    assert not [o for o in without.objects if o["metadata"]["name"] == "hubble-metrics"]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("drops", '"drops" is not a metric that this version has: dns, drop, flow'),
        ("tcp:query", 'tcp: "query" is not an option of it'),
        ("httpV2:exemplars=true", 'httpV2: "exemplars" is not an option of it'),
    ],
)
def test_unknown_metrics_are_refused(render: Render, metric: str, said: str) -> None:
    rendered = render({"hubble": {"metrics": {"enabled": ["drop", metric]}}})
    assert rendered.code != 0
    assert f"hubble.metrics.enabled: {said}" in rendered.error
