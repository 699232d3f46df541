# SPDX-License-Identifier: Apache-2.0
"""The text, held against the article's own output."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cilium_cli.kube.client import Client
from cilium_cli.status.collect import Collector
from cilium_cli.status.model import Status
from cilium_cli.status.render import render
from cilium_cli.status.tabwriter import visible

from ..conftest import NAMESPACE, FakeApi, article, daemon_set, deployment, pod

GOLDEN = Path(__file__).resolve().parents[4] / "e2e" / "golden"
FEATURES = "hubble-ui,ingress-controller"


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_compare", GOLDEN / "compare.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def text_of(api: FakeApi) -> str:
    async with Client(api.access) as client:
        return render(await Collector(client, NAMESPACE).collect())


def today(api: FakeApi) -> None:
    """The cluster that this version makes of the article's values."""
    article(api)
    del api.objects[f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/hubble-ui"]
    api.pods = [p for p in api.pods if p["metadata"]["name"] != "ui"]
    api.add("daemonsets", daemon_set("cilium", 3, **{"helm.sh/chart": "cilium-0.1.0"}))
    for found in api.pods[:4]:
        found["spec"]["containers"][0]["image"] = "localhost/cilium-python/x:0.1.0"
    envoy(api)
    api.config({"features-not-available": FEATURES})


def envoy(api: FakeApi) -> None:
    """The proxies, as the chart makes them: three containers of one image."""
    image = "localhost/cilium-python/cilium-proxy:0.1.0"
    api.add("daemonsets", daemon_set("cilium-envoy", 3))
    containers = dict.fromkeys(("cilium-envoy", "controller", "dns-proxy"), image)
    api.pods += [pod(f"e{n}", "name=cilium-envoy", containers) for n in range(3)]


async def test_article_byte_for_byte_but_for_the_order_of_images(api: FakeApi) -> None:
    article(api)
    ours = (await text_of(api)).splitlines()
    theirs = (GOLDEN / "status.txt").read_text().splitlines()
    start = next(n for n, line in enumerate(theirs) if line.startswith("Image versions"))
    assert ours[:start] == theirs[:start]
    assert sorted(line[14:] for line in ours[start:]) == sorted(
        line[14:] for line in theirs[start:]
    )
    assert len(ours) == len(theirs)


async def test_article_needs_no_permission_beyond_order(api: FakeApi, golden: ModuleType) -> None:
    article(api)
    assert golden.not_permitted(await text_of(api)) == []


async def test_today(api: FakeApi, golden: ModuleType) -> None:
    today(api)
    text = await text_of(api)
    assert golden.not_permitted(text) == []
    assert text.endswith(
        "\n\nHelm chart version:    0.1.0\nNot yet available:     hubble-ui, ingress-controller\n"
    )
    assert " /¯¯\\__/¯¯\\    Hubble:         OK\n" in text


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("Cilium:         OK", "Cilium:         1 errors"),
        ("Operator:       OK", "Operator:       OK "),
        ("Desired: 3, Ready: 3/3", "Desired: 3, Ready: 2/3"),
        ("Running: 3", "Running: 2"),
        ("ClusterMesh:    disabled", "ClusterMesh:    OK"),
        (r"15/17 managed", "18/17 managed"),
        (r"x:0\.1\.0: 3", "x:0.1.0: 2"),
        ("DaemonSet         cilium", "DaemonSet        cilium"),
        ("Deployment        cilium-operator .*\n", ""),
        ("Not yet available: .*", ""),
        ("Envoy DaemonSet:    OK", "Envoy DaemonSet:    1 warnings"),
        (r"cilium-envoy +Desired: 3, Ready: 3/3", "cilium-envoy       Desired: 3, Ready: 2/3"),
        (r"( {18}cilium-envoy +)Running: 3", r"\1Pending: 1, Running: 2"),
        ("Cluster Pods", "Errors:           cilium    x\nCluster Pods"),
    ],
)
async def test_what_may_not_differ(
    api: FakeApi, golden: ModuleType, pattern: str, replacement: str
) -> None:
    today(api)
    text = await text_of(api)
    broken = re.sub(pattern, replacement, text, count=1)
    assert broken != text
    assert golden.not_permitted(broken)


def test_every_permitted_difference_has_a_reason(golden: ModuleType) -> None:
    found = golden.permitted()
    assert len({d.id for d in found}) == len(found)
    assert all(len(d.why) > 30 for d in found)


async def test_envoy_does_not_move_the_rest(api: FakeApi, golden: ModuleType) -> None:
    article(api)
    envoy(api)
    text = await text_of(api)
    assert "    \\__/       Envoy DaemonSet:    OK\n" in text
    assert "DaemonSet         cilium-envoy       Desired: 3, Ready: 3/3, Available: 3/3\n" in text
    assert "                  cilium-envoy       Running: 3\n" in text
    assert "cilium-envoy       localhost/cilium-python/cilium-proxy:0.1.0: 3\n" in text
    assert golden.not_permitted(text) == []


def test_errors_and_warnings() -> None:
    status = Status()
    status.error("cilium", "cilium-b", "second")
    status.error("cilium", "cilium-a", "first")
    status.warning("cilium", "cilium-a", "careful")
    status.disable("hubble-relay")
    text = render(status)
    assert "Cilium:         2 errors, 1 warnings" in text
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Errors:"))
    assert lines[start:] == [
        "Errors:          cilium    cilium-a    first",
        "                 cilium    cilium-b    second",
        "Warnings:        cilium    cilium-a    careful",
    ]


async def test_objects_that_an_uninstall_left_are_no_managed_pods(api: FakeApi) -> None:
    article(api)
    api.objects = {path: o for path, o in api.objects.items() if not path.endswith("/cilium")}
    api.pods = [p for p in api.pods if p["metadata"]["labels"].get("k8s-app") != "cilium"]
    text = await text_of(api)
    assert "0/18 managed by Cilium: no agent runs; 15 CiliumEndpoints are left\n" in text


async def test_a_controller_scaled_to_nothing_leaves_no_empty_line(api: FakeApi) -> None:
    article(api)
    for name in ("cilium-operator", "hubble-relay"):
        api.add("deployments", deployment(name, 0))
    api.pods = [p for p in api.pods if p["metadata"]["name"] not in ("op", "relay")]
    text = await text_of(api)
    assert "Operator:       1 errors\n" in text
    assert "Hubble:         1 warnings\n" in text
    assert "Deployment        cilium-operator    Desired: 0\n" in text
    assert "Deployment        hubble-relay       Desired: 0\n" in text
    assert "cilium-operator    none\n" in text
    assert "hubble-relay       none\n" in text


def test_colours_change_no_column() -> None:
    status = Status()
    status.error("cilium", "cilium", "x")
    plain, coloured = render(status), render(status, colour=True)
    assert "\033[31m1 errors" in coloured
    assert "\033" not in plain
    assert [visible(line) for line in coloured.splitlines()] == [
        len(line) for line in plain.splitlines()
    ]


async def test_verbose_adds_agents(api: FakeApi) -> None:
    article(api)
    async with Client(api.access) as client:
        status = await Collector(client, NAMESPACE).collect()
    text = render(status, verbose=True)
    assert "Agents:    cilium-0    Ok 0.1.0    1/1 endpoints ready\n" in text
