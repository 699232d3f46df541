# SPDX-License-Identifier: Apache-2.0
"""DaemonSet cilium-envoy: what its processes are told, and that it needs nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from cilium_proxy import config
from cilium_proxy.dns import settings as dns_settings

from .conftest import ROOT, Render, Rendered

NODE = {"K8S_NODE_NAME": "node1"}


def data(rendered: Rendered) -> dict[str, str]:
    found: dict[str, str] = rendered.get("ConfigMap", "cilium-envoy-config")["data"]
    return found


def daemon(rendered: Rendered) -> dict[str, Any]:
    return rendered.get("DaemonSet", "cilium-envoy")


def spec(rendered: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = daemon(rendered)["spec"]["template"]["spec"]
    return found


def containers(rendered: Rendered) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in spec(rendered)["containers"]}


def read(rendered: Rendered, folder: Path) -> tuple[config.Settings, dns_settings.Settings]:
    """Return the settings that the processes read from the ConfigMap."""
    for key, value in data(rendered).items():
        (folder / key).write_text(value)
    return config.load(folder, NODE, {}), dns_settings.load(folder, NODE, {})


def test_the_processes(render: Render) -> None:
    rendered = render()
    (init,) = spec(rendered)["initContainers"]
    found = containers(rendered)
    envoy = found["cilium-envoy"]
    assert init["command"] == ["cilium-proxy", "bootstrap"]
    # What one writes the other is started with: Envoy itself is the container's first process.
    assert init["args"][-2:] == ["--out", envoy["args"][1]]
    assert envoy["command"] == ["envoy"]
    assert found["controller"]["command"] == ["cilium-proxy", "controller"]
    assert found["dns-proxy"]["command"] == ["cilium-proxy", "dns"]
    assert len({container["image"] for container in [init, *found.values()]}) == 1
    for container in [init, *found.values()]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]


def test_it_outlives_agents_and_asks_nobody(render: Render) -> None:
    rendered = render()
    pod = spec(rendered)
    assert pod["hostNetwork"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "affinity" not in pod
    bindings = [o for o in rendered.objects if o["kind"].endswith("Binding")]
    assert not [b for b in bindings for s in b["subjects"] if s["name"] == "cilium-envoy"]
    assert {v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v} == {
        "/var/run/cilium",
        "/var/run/cilium/envoy",
    }
    mounts = {m["mountPath"] for m in containers(rendered)["cilium-envoy"]["volumeMounts"]}
    assert mounts == {"/var/run/cilium/envoy"}


def test_only_its_own_settings_replace_it(render: Render) -> None:
    def checksum(values: dict[str, Any]) -> str:
        notes = daemon(render(values))["spec"]["template"]["metadata"]["annotations"]
        return str(notes["checksum/config"])

    assert checksum({}) == checksum({"MTU": 1400, "policyEnforcementMode": "always"})
    assert checksum({}) != checksum({"hubble": {"redact": {"enabled": True}}})


def test_probes_ask_where_the_processes_answer(render: Render, tmp_path: Path) -> None:
    rendered = render({"envoy": {"healthPort": 19878}})
    controller, dns = read(rendered, tmp_path)
    answers = {
        "cilium-envoy": controller.envoy_health_address,
        "controller": controller.health_address,
        "dns-proxy": dns.health_address,
    }
    for name, container in containers(rendered).items():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = container[probe]["httpGet"]
            assert (get["host"], get["port"]) == answers[name]
        # A proxy that knows no rules yet is not ready, but nobody restarts it for that.
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_metrics(render: Render, tmp_path: Path) -> None:
    rendered = render({"envoy": {"prometheus": {"port": 19964}}})
    controller, dns = read(rendered, tmp_path)
    ports = {name: c["ports"][0]["hostPort"] for name, c in containers(rendered).items()}
    assert ports == {"cilium-envoy": 19964, "controller": 9967, "dns-proxy": 9968}
    assert controller.envoy_metrics_address == ("0.0.0.0", 19964)
    assert controller.metrics_address == ("0.0.0.0", 9967)
    assert dns.metrics_address == ("0.0.0.0", 9968)
    notes = daemon(rendered)["spec"]["template"]["metadata"]["annotations"]
    assert (notes["prometheus.io/scrape"], notes["prometheus.io/port"]) == ("true", "19964")


def test_without_metrics(render: Render, tmp_path: Path) -> None:
    rendered = render({"envoy": {"prometheus": {"enabled": False}}})
    controller, dns = read(rendered, tmp_path)
    found = (controller.envoy_metrics_address, controller.metrics_address, dns.metrics_address)
    assert found == (None, None, None)
    assert not [c for c in containers(rendered).values() if "ports" in c]
    notes = daemon(rendered)["spec"]["template"]["metadata"]["annotations"]
    assert not [key for key in notes if key.startswith("prometheus.io")]


def test_values_reach_the_processes(render: Render, tmp_path: Path) -> None:
    headers = {"allow": ["X-Request-Id", "traceparent"]}
    rendered = render(
        {
            "dnsProxy": {"dnsRejectResponseCode": "nameError", "proxyResponseMaxDelay": "1m0.5s"},
            "hubble": {"redact": {"enabled": True, "http": {"urlQuery": True, "headers": headers}}},
            "ipv6": {"enabled": True},
        }
    )
    controller, dns = read(rendered, tmp_path)
    assert (dns.refusal, dns.longest_hold) == (3, 60.5)
    redaction = controller.redaction
    assert (redaction.enabled, redaction.url_query, redaction.user_info) == (True, True, True)
    assert redaction.headers_allow == {"x-request-id", "traceparent"}
    assert not redaction.headers_deny


def test_every_key_is_read(render: Render) -> None:
    """A key that no process of the pod asks for would be accepted and ignored."""
    source = ROOT / "packages/proxy/src/cilium_proxy"
    text = (source / "config.py").read_text() + (source / "dns/settings.py").read_text()
    for key in data(render()):
        assert f'"{key}"' in text, key


def test_values_of_the_pod(render: Render) -> None:
    values = {
        "image": {"repository": "r/proxy", "tag": "v1"},
        "resources": {"limits": {"memory": "1Gi"}},
        "controller": {"resources": {"limits": {"memory": "2Gi"}}},
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "nodeSelector": {"e": "f"},
        "tolerations": [{"key": "g", "operator": "Exists"}],
        "priorityClassName": "h",
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "securityContext": {"capabilities": {"envoy": ["NET_ADMIN", "SYS_ADMIN"]}},
        "extraEnv": [{"name": "CILIUM_DEBUG", "value": "true"}],
        "terminationGracePeriodSeconds": 7,
        "startupProbe": {"failureThreshold": 9},
    }
    account = {"envoy": {"create": False, "name": "mine"}}
    dns = {"resources": {"limits": {"memory": "3Gi"}}}
    rendered = render({"envoy": values, "serviceAccounts": account, "dnsProxy": dns})
    kubernetes_validate.validate(daemon(rendered), "1.36", strict=True)
    pod, found = spec(rendered), containers(rendered)
    assert daemon(rendered)["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert daemon(rendered)["spec"]["selector"] == {"matchLabels": {"k8s-app": "cilium-envoy"}}
    template = daemon(rendered)["spec"]["template"]["metadata"]
    assert (template["labels"]["a"], template["annotations"]["c"]) == ("b", "d")
    assert {c["image"] for c in found.values()} == {"r/proxy:v1"}
    limits = {name: c["resources"]["limits"]["memory"] for name, c in found.items()}
    assert limits == {"cilium-envoy": "1Gi", "controller": "2Gi", "dns-proxy": "3Gi"}
    assert (pod["nodeSelector"]["e"], pod["tolerations"][0]["key"]) == ("f", "g")
    assert (pod["priorityClassName"], pod["terminationGracePeriodSeconds"]) == ("h", 7)
    added = found["cilium-envoy"]["securityContext"]["capabilities"]["add"]
    assert added == ["NET_ADMIN", "SYS_ADMIN"]
    assert {c["startupProbe"]["failureThreshold"] for c in found.values()} == {9}
    for name in ("controller", "dns-proxy"):
        assert {"name": "CILIUM_DEBUG", "value": "true"} in found[name]["env"]
    assert pod["serviceAccountName"] == "mine"
    assert not [
        o
        for o in rendered.objects
        if o["kind"] == "ServiceAccount" and "envoy" in o["metadata"]["name"]
    ]


def test_no_envoy_is_no_object(render: Render) -> None:
    rendered = render({"envoy": {"enabled": False}})
    assert not [o for o in rendered.objects if "envoy" in o["metadata"]["name"]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"hubble": {"redact": {"http": {"headers": {"allow": ["a"], "deny": ["b"]}}}}},
            "hubble.redact.http.headers: allow and deny are both set",
        ),
        ({"dnsProxy": {"dnsRejectResponseCode": "servfail"}}, "dnsRejectResponseCode"),
        ({"dnsProxy": {"proxyResponseMaxDelay": "fast"}}, "proxyResponseMaxDelay"),
        ({"dnsProxy": {"minTtl": -1}}, "minTtl"),
        ({"dnsProxy": {"socketLingerTimeout": 5}}, "dnsProxy.socketLingerTimeout"),
        ({"dnsProxy": {"idleConnectionGracePeriod": "long"}}, "idleConnectionGracePeriod"),
        ({"envoy": {"prometheus": {"port": "http"}}}, "port"),
        ({"envoy": {"prometheus": {"serviceMonitor": {"enabled": True}}}}, "serviceMonitor"),
        ({"envoy": {"healthPort": 70000}}, "healthPort"),
        ({"envoy": {"healthPort": 9877}}, "envoy.healthPort: 9877 is another's"),
        ({"envoy": {"prometheus": {"port": 9962}}}, "envoy.prometheus.port: 9962 is another's"),
        ({"envoy": {"securityContext": {"privileged": True}}}, "privileged"),
        ({"envoy": {"nonsense": 1}}, "nonsense"),
        ({"hubble": {"redact": {"http": {"headers": {"deny": ["a b"]}}}}}, "deny"),
    ],
)
def test_what_cannot_be_is_refused(render: Render, values: dict[str, Any], said: str) -> None:
    rendered = render(values)
    assert rendered.code != 0
    assert said in rendered.error
