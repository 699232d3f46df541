# SPDX-License-Identifier: Apache-2.0
"""What the chart renders, validated against the Kubernetes schemas."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from .conftest import ARTICLE, CHART, Render, Rendered, run_helm

SECRETS = {"cilium-ca", "hubble-server-certs", "hubble-relay-client-certs"}


@pytest.fixture
def article(render: Render) -> Rendered:
    rendered = render(None, "-f", str(ARTICLE))
    assert rendered.code == 0, rendered.error
    return rendered


def test_lint() -> None:
    done = run_helm("lint", str(CHART), "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_object_is_valid(article: Rendered) -> None:
    assert len(article.objects) >= 17
    for found in article.objects:
        kubernetes_validate.validate(found, "1.36", strict=True)


def test_config_of_the_article(article: Rendered) -> None:
    assert article.config == {
        "cluster-name": "kubernetes",
        "enable-ipv4": "true",
        "enable-ipv6": "false",
        "routing-mode": "tunnel",
        "tunnel-protocol": "vxlan",
        "kube-proxy-replacement": "true",
        "cluster-pool-ipv4-cidr": "10.0.0.0/8",
        "cluster-pool-ipv4-mask-size": "24",
        "cluster-pool-ipv6-cidr": "fd00::/104",
        "cluster-pool-ipv6-mask-size": "120",
        "enable-ipv4-masquerade": "true",
        "enable-ipv6-masquerade": "true",
        "mtu": "0",
        "cni-exclusive": "true",
        "identity-gc-interval": "15m0s",
        "set-cilium-node-taints": "true",
        "cilium-endpoint-gc-interval": "5m0s",
        "enable-policy": "default",
        "external-envoy-proxy": "true",
        "tofqdns-min-ttl": "0",
        "tofqdns-endpoint-max-ip-per-hostname": "1000",
        "tofqdns-max-deferred-connection-deletes": "10000",
        "tofqdns-idle-connection-grace-period": "0s",
        "tofqdns-preallocate-identities": "true",
        "enable-hubble": "true",
        "hubble-event-buffer-capacity": "4095",
        "hubble-listen-address": ":4244",
        "hubble-disable-tls": "false",
        "hubble-history-enabled": "true",
        "hubble-history-max-bytes": "256Mi",
        "hubble-history-max-age": "24h",
        "certificates-hubble": "true",
        "certificates-validity-days": "365",
        "certificates-relay-server": "false",
        "features-not-available": "hubble-ui,ingress-controller",
    }
    assert article.get("Deployment", "cilium-operator")["spec"]["replicas"] == 1
    assert not [o for o in article.objects if o["kind"] == "PodDisruptionBudget"]


def test_features_follow_the_values(render: Render) -> None:
    none = {"envoy": {"enabled": False}, "hubble": {"enabled": False}}
    assert render(none).config["features-not-available"] == ""
    assert render({}).config["features-not-available"] == ""


def pod_spec(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def test_agent(article: Rendered) -> None:
    daemon = article.get("DaemonSet", "cilium")
    spec = pod_spec(daemon)
    agent, hubble = spec["containers"]
    assert daemon["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 2}
    assert spec["hostNetwork"] is True
    assert "hostPID" not in spec
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["terminationGracePeriodSeconds"] == 1
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert agent["command"] + agent["args"] == [
        *("cilium-agent", "--config-dir", "/etc/cilium/config")
    ]
    mounts = {m["mountPath"]: m for m in agent["volumeMounts"]}
    assert mounts["/sys/fs/bpf"]["mountPropagation"] == "Bidirectional"
    assert mounts["/var/run/netns"]["mountPropagation"] == "HostToContainer"
    assert mounts["/sys/fs/cgroup"]["mountPropagation"] == "HostToContainer"
    used = {m["name"] for m in [*agent["volumeMounts"], *hubble["volumeMounts"]]}
    assert used == {v["name"] for v in spec["volumes"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = agent[probe]["httpGet"]
        assert (get["host"], get["port"], get["path"]) == ("127.0.0.1", 9879, "/healthz")
    assert agent["startupProbe"]["failureThreshold"] >= 100
    assert set(agent["resources"]["requests"]) == {"cpu", "memory"}


def test_hubble_reads_beside_the_agent_and_makes_no_node_unready(render: Render) -> None:
    rendered = render({"hubble": {"eventBufferCapacity": 8191}, "policyEnforcementMode": "always"})
    _, hubble = pod_spec(rendered.get("DaemonSet", "cilium"))["containers"]
    assert hubble["command"] == ["cilium-hubble"]
    assert "readinessProbe" not in hubble
    assert hubble["securityContext"]["capabilities"] == {"add": ["BPF"], "drop": ["ALL"]}
    assert rendered.config["hubble-event-buffer-capacity"] == "8191"
    assert rendered.config["enable-policy"] == "always"
    without = render({"hubble": {"enabled": False}})
    assert len(pod_spec(without.get("DaemonSet", "cilium"))["containers"]) == 1
    assert without.config["enable-hubble"] == "false"
    assert "eventBufferCapacity" in render({"hubble": {"eventBufferCapacity": 4096}}).error


def test_init_container_installs_only_the_binaries(article: Rendered) -> None:
    (init,) = pod_spec(article.get("DaemonSet", "cilium"))["initContainers"]
    assert [m["mountPath"] for m in init["volumeMounts"]] == ["/host/opt/cni/bin"]
    script = init["command"][-1]
    assert "put cilium-cni" in script
    assert "[ -x /host/opt/cni/bin/loopback ] || put loopback" in script


def test_privileges(article: Rendered) -> None:
    """Privileged only where the bpffs is mounted Bidirectional; others have what is listed."""
    capabilities = {
        "hubble": ["BPF"],
        "cilium-envoy": ["NET_ADMIN"],
        "dns-proxy": ["NET_ADMIN", "NET_RAW"],
    }
    for found in article.objects:
        if found["kind"] not in ("DaemonSet", "Deployment", "Job"):
            continue
        spec = pod_spec(found)
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            shared = any(
                m.get("mountPropagation") == "Bidirectional"
                for m in container.get("volumeMounts", [])
            )
            context = container["securityContext"]
            assert bool(context.get("privileged")) is shared, container["name"]
            added = context.get("capabilities", {}).get("add", [])
            assert added == capabilities.get(container["name"], [])
            assert container["resources"]["requests"]["memory"]


def test_operator(render: Render) -> None:
    rendered = render({"operator": {"replicas": 3}})
    deployment = rendered.get("Deployment", "cilium-operator")
    spec = pod_spec(deployment)
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == "50%"
    assert spec["priorityClassName"] == "system-cluster-critical"
    rules = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rules[0]["topologyKey"] == "kubernetes.io/hostname"
    assert {"key": "node.cilium.io/agent-not-ready", "operator": "Exists"} in spec["tolerations"]
    assert not any(t.get("effect") == "NoExecute" for t in spec["tolerations"])
    budget = rendered.get("PodDisruptionBudget", "cilium-operator")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["spec"]["selector"]


def test_one_replica_can_be_replaced_on_one_node(render: Render) -> None:
    deployment = render({"operator": {"replicas": 1}}).get("Deployment", "cilium-operator")
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == "100%"


def test_service_accounts_by_name(render: Render) -> None:
    rendered = render({"serviceAccounts": {"cilium": {"name": "mine", "create": False}}})
    assert pod_spec(rendered.get("DaemonSet", "cilium"))["serviceAccountName"] == "mine"
    assert rendered.get("ClusterRoleBinding", "cilium")["subjects"][0]["name"] == "mine"
    accounts = {o["metadata"]["name"] for o in rendered.objects if o["kind"] == "ServiceAccount"}
    assert accounts == {"cilium-operator", "cilium-cleanup", "cilium-envoy"}


def test_rbac_is_least_privilege(article: Rendered) -> None:
    for found in article.objects:
        for rule in found.get("rules", []) if found["kind"].endswith("Role") else []:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            if "secrets" in rule["resources"]:
                assert found["metadata"]["name"] == "cilium-operator"
                assert found["kind"] == "Role"
                assert rule["resources"] == ["secrets"]
                assert rule["verbs"] == ["create"] or set(rule["resourceNames"]) == SECRETS
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "customresourcedefinitions" in rule["resources"] and "update" in rule["verbs"]:
                assert len(rule["resourceNames"]) == 6
    for name in ("cilium", "cilium-operator"):
        for rule in article.get("ClusterRole", name)["rules"]:
            if "pods" in rule["resources"]:
                assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_a_config_change_rolls_both(render: Render) -> None:
    def sums(rendered: Rendered) -> list[str]:
        return [
            rendered.get(kind, name)["spec"]["template"]["metadata"]["annotations"][
                "checksum/config"
            ]
            for kind, name in (("DaemonSet", "cilium"), ("Deployment", "cilium-operator"))
        ]

    before, again, after = sums(render()), sums(render()), sums(render({"MTU": 1400}))
    assert before == again
    assert set(before).isdisjoint(after)


def test_selectors_do_not_follow_values(render: Render) -> None:
    """They are immutable: an upgrade that changed them would fail."""
    plain, other = (
        render(),
        render({"podLabels": {"a": "b"}, "operator": {"podLabels": {"a": "b"}}}),
    )
    for kind, name in (("DaemonSet", "cilium"), ("Deployment", "cilium-operator")):
        assert (
            plain.get(kind, name)["spec"]["selector"] == other.get(kind, name)["spec"]["selector"]
        )


def test_image_spellings(render: Render) -> None:
    def image(values: dict[str, Any]) -> str:
        found: str = pod_spec(render({"image": values}).get("DaemonSet", "cilium"))["containers"][
            0
        ]["image"]
        return found

    digest = "sha256:" + "a" * 64
    assert image({}) == "localhost/cilium-python/cilium-agent:0.1.0"
    assert image({"override": "x/y:z"}) == "x/y:z"
    named = {"repository": "r/a", "tag": "v1", "digest": digest}
    assert image(named) == "r/a:v1"
    assert image({**named, "useDigest": True}) == f"r/a:v1@{digest}"


def test_uninstall_hooks_run_in_order(article: Rendered) -> None:
    def weight(found: dict[str, Any]) -> int | None:
        notes = found["metadata"].get("annotations", {})
        if "helm.sh/hook" not in notes:
            return None
        assert notes["helm.sh/hook"] == "post-delete"
        assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        return int(notes["helm.sh/hook-weight"])

    weights = {
        (o["kind"], o["metadata"]["name"]): weight(o)
        for o in article.objects
        if weight(o) is not None
    }
    assert weights == {
        ("ServiceAccount", "cilium-cleanup"): -10,
        ("Role", "cilium-cleanup"): -10,
        ("RoleBinding", "cilium-cleanup"): -10,
        ("Job", "cilium-cleanup-agents-gone"): 0,
        ("DaemonSet", "cilium-cleanup"): 5,
        ("Job", "cilium-cleanup-nodes-clean"): 10,
    }


def test_cleanup_sees_what_the_agent_sees(article: Rendered) -> None:
    agent = pod_spec(article.get("DaemonSet", "cilium"))
    clean = pod_spec(article.get("DaemonSet", "cilium-cleanup"))
    (init,) = clean["initContainers"]
    assert init["command"] == ["cilium-dbg", "cleanup", "--all", "--force"]
    own = [m for m in agent["containers"][0]["volumeMounts"] if m["name"] != "cilium-config"]
    history = {"name": "hubble-history", "mountPath": "/var/lib/cilium/hubble"}
    assert init["volumeMounts"] == [*own, history]
    others = ("cilium-config", "hubble-tls")
    assert clean["volumes"] == [v for v in agent["volumes"] if v["name"] not in others]
    assert clean["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(("more", "said"), [((), "installed"), (("--is-upgrade",), "upgraded")])
def test_notes_name_what_is_missing(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    """`helm template` leaves NOTES.txt out, so a copy of the chart shows its text in an object."""
    copy = tmp_path / "cilium"
    shutil.copytree(CHART, copy)
    (copy / "templates" / "shown.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: shown}\ndata:\n"
        '  notes: {{ include "cilium.notes" . | quote }}\n'
    )
    done = run_helm(
        *("template", "cilium", str(copy), "-n", "kube-system", "-f", str(ARTICLE)),
        *("--set", "k8sServiceHost=h,k8sServicePort=1", "-s", "templates/shown.yaml"),
        *more,
    )
    assert done.returncode == 0, done.stderr
    notes = yaml.safe_load(done.stdout)["data"]["notes"]
    assert f" is being {said} in namespace kube-system.\n" in notes
    assert "hubble-ui, ingress-controller" in notes
    assert "\nProxies: DaemonSet cilium-envoy, " in notes
    assert "cilium status --wait --namespace kube-system" in notes
    assert "IPv6: false (from the nodes' addresses)" in notes
