# SPDX-License-Identifier: Apache-2.0
"""What the article shows after the installation: its values file, and `cilium status`."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from e2e import system
from e2e.golden import compare
from e2e.kube import Kube

# One group with the tests that change the release, so that none looks at it meanwhile.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("breaks")]

# of the article's values file, taken when it was copied
ARTICLE_VALUES_SHA256 = "1b38687f9381e73d7f21967484e53e684b93327346a742b9b83c3bcc250b3d3f"


def test_values_file_is_the_articles_byte_for_byte() -> None:
    assert hashlib.sha256(system.VALUES.read_bytes()).hexdigest() == ARTICLE_VALUES_SHA256


def test_release_was_installed_with_these_values(cluster: Any) -> None:
    import yaml

    stored = system.helm(cluster.kubeconfig, "get", "values", "cilium", "-n", "kube-system")
    body = stored.removeprefix("USER-SUPPLIED VALUES:\n")
    assert yaml.safe_load(body) == yaml.safe_load(system.VALUES.read_text())


def test_status_is_the_articles(cluster: Any) -> None:
    text = system.cilium(cluster.kubeconfig, "status", "--wait", "--wait-duration", "2m")
    assert compare.not_permitted(text) == [], text
    assert "Desired: 3, Ready: 3/3, Available: 3/3" in text


def test_status_as_json_counts_what_the_cluster_has(cluster: Any, kube: Kube) -> None:
    status = json.loads(system.cilium(cluster.kubeconfig, "status", "-o", "json"))
    assert status["pod_state"]["cilium"]["Ready"] == 3
    endpoints = kube.json("get", "ciliumendpoints", "-A")["items"]
    assert status["pods_count"]["by_cilium"] == pytest.approx(len(endpoints), abs=2)


def test_nodes_lost_the_taint_and_have_their_network(kube: Kube) -> None:
    for node in kube.json("get", "nodes")["items"]:
        keys = [taint["key"] for taint in node["spec"].get("taints", [])]
        assert "node.cilium.io/agent-not-ready" not in keys
        conditions = {c["type"]: c for c in node["status"]["conditions"]}
        assert conditions["NetworkUnavailable"]["reason"] == "CiliumIsUp"


def test_each_pod_address_is_from_its_nodes_cidr(kube: Kube) -> None:
    from ipaddress import ip_address, ip_network

    cidrs = {
        node["metadata"]["name"]: [ip_network(c) for c in node["spec"]["ipam"]["podCIDRs"]]
        for node in kube.json("get", "ciliumnodes")["items"]
    }
    seen = 0
    for pod in kube.json("get", "pods", "-A")["items"]:
        if pod["spec"].get("hostNetwork") or pod["status"]["phase"] != "Running":
            continue
        addresses = [ip_address(entry["ip"]) for entry in pod["status"]["podIPs"]]
        assert {a.version for a in addresses} == {4, 6}
        for address in addresses:
            assert any(address in cidr for cidr in cidrs[pod["spec"]["nodeName"]])
        seen += 1
    assert seen >= 2


def _forbidden(kube: Kube, selector: str, url: str) -> list[str]:
    """What every pod of ours says that the API server refused it, by its metrics and its log."""
    where = ("-n", "kube-system")
    found = []
    for pod in kube.json(*where, "get", "pods", "-l", selector)["items"]:
        name = pod["metadata"]["name"]
        log = kube.kubectl(*where, "logs", name, "--all-containers", "--tail=-1")
        found += [f"{name}: {line}" for line in log.splitlines() if "forbidden" in line.lower()]
        if url:
            read = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
            text = kube.kubectl(*where, "exec", name, "--", "python3", "-c", read)
            found += re.findall(r'^cilium_k8s_client_api_calls_total{.*"403".*$', text, re.M)
    return found


def test_no_request_was_refused(kube: Kube) -> None:
    """Rights are granted verb by verb (charts/tests/test_rbac.py): they must suffice."""
    assert _forbidden(kube, "k8s-app=cilium", "http://127.0.0.1:9962/metrics") == []
    assert _forbidden(kube, "io.cilium/app=operator", "") == []
