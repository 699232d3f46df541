# SPDX-License-Identifier: Apache-2.0
"""`auto` values against an API server that answers Helm's look-ups."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Render, Rendered

Objects = dict[str, Any]
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


def endpoint_slice(*addresses: str, port: int = 6443) -> Objects:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": list(addresses)}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def nodes(*addresses: str) -> Objects:
    return {
        "apiVersion": "v1",
        "kind": "NodeList",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "node1"},
                "status": {"addresses": [{"type": "InternalIP", "address": a} for a in addresses]},
            }
        ],
    }


def discovery(group: str, *resources: tuple[str, str, bool]) -> Objects:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group,
        "resources": [
            {
                "name": name,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": namespaced,
                "verbs": ["get", "list"],
            }
            for name, kind, namespaced in resources
        ],
    }


def group(name: str) -> Objects:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


BASE: Objects = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [group("discovery.k8s.io"), group("networking.k8s.io")],
    },
    "/api/v1": discovery("v1", ("nodes", "Node", False)),
    "/apis/discovery.k8s.io/v1": discovery(
        "discovery.k8s.io/v1", ("endpointslices", "EndpointSlice", True)
    ),
    "/apis/networking.k8s.io/v1": discovery(
        "networking.k8s.io/v1", ("servicecidrs", "ServiceCIDR", False)
    ),
    "/apis/networking.k8s.io/v1/servicecidrs": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDRList",
        "items": [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "ServiceCIDR",
                "metadata": {"name": "kubernetes"},
                "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]},
            }
        ],
    },
}


class Api:
    """A web server of fixed objects by path, and the kubeconfig that leads to it."""

    def __init__(self, folder: Path) -> None:
        self.objects: Objects = dict(BASE)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = outer.objects.get(self.path.partition("?")[0])
                body = json.dumps(
                    found
                    if found is not None
                    else {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
                ).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.kubeconfig = folder / "kubeconfig"
        host = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": host}}],
                    "users": [{"name": "u", "user": {}}],
                }
            )
        )


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    # Helm's discovery cache lives in the home folder.
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Api(tmp_path)
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def ask(render: Render, api: Api, values: Objects | None = None) -> Rendered:
    return render(
        values,
        *("--dry-run=server", "--kubeconfig", str(api.kubeconfig)),
        # `helm template` does not ask which kinds there are; `helm install` does.
        *("--api-versions", "networking.k8s.io/v1/ServiceCIDR"),
        server=False,
    )


def environment(rendered: Rendered, kind: str, name: str) -> dict[str, str]:
    spec = rendered.get(kind, name)["spec"]["template"]["spec"]
    return {e["name"]: e["value"] for e in spec["containers"][0]["env"] if "value" in e}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("DaemonSet", "cilium"),
        ("Deployment", "cilium-operator"),
        ("Job", "cilium-cleanup-nodes-clean"),
    ],
)
def test_all_api_servers_in_order(render: Render, api: Api, kind: str, name: str) -> None:
    api.objects[SLICE] = endpoint_slice("172.30.0.10", "172.30.0.9")
    rendered = ask(render, api)
    assert rendered.code == 0, rendered.error
    assert environment(rendered, kind, name) == {
        "KUBERNETES_SERVICE_HOST": "172.30.0.10",
        "KUBERNETES_SERVICE_PORT": "6443",
        "CILIUM_K8S_API_SERVERS": "172.30.0.10:6443,172.30.0.9:6443",
    }


def test_ipv6_api_server_has_brackets(render: Render, api: Api) -> None:
    api.objects[SLICE] = endpoint_slice("fd00:30::a", port=443)
    found = environment(ask(render, api), "DaemonSet", "cilium")
    assert found["KUBERNETES_SERVICE_HOST"] == "fd00:30::a"
    assert found["CILIUM_K8S_API_SERVERS"] == "[fd00:30::a]:443"


def test_explicit_host_wins(render: Render, api: Api) -> None:
    api.objects[SLICE] = endpoint_slice("172.30.0.10")
    values = {"k8sServiceHost": "api.example", "k8sServicePort": 443}
    found = environment(ask(render, api, values), "DaemonSet", "cilium")
    assert found["CILIUM_K8S_API_SERVERS"] == "api.example:443"


def test_without_the_slice_the_error_says_what_to_set(render: Render, api: Api) -> None:
    error = ask(render, api).error
    assert "k8sServiceHost" in error
    assert "k8sServicePort" in error


def test_host_without_port(render: Render) -> None:
    assert "k8sServicePort" in render({"k8sServiceHost": "h"}, server=False).error


@pytest.mark.parametrize(
    ("addresses", "setting", "expected"),
    [
        (["172.30.0.11"], "auto", "false"),
        (["172.30.0.11", "fd00:30::b"], "auto", "true"),
        (["172.30.0.11", "fd00:30::b"], False, "false"),
        (["172.30.0.11"], True, "true"),
    ],
)
def test_ipv6_follows_the_nodes(
    render: Render, api: Api, addresses: list[str], setting: Any, expected: str
) -> None:
    api.objects[SLICE] = endpoint_slice("172.30.0.10")
    api.objects["/api/v1/nodes"] = nodes(*addresses)
    assert ask(render, api, {"ipv6": {"enabled": setting}}).config["enable-ipv6"] == expected


def test_service_ranges_reach_the_operator(render: Render, api: Api) -> None:
    api.objects[SLICE] = endpoint_slice("172.30.0.10")
    assert ask(render, api).config["service-cidrs"] == "10.96.0.0/16 fd00:96::/112"
