# SPDX-License-Identifier: Apache-2.0
"""A fake API server, on a real socket, that holds the article's cluster."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cilium_cli.kube.kubeconfig import Access

NAMESPACE = "kube-system"
RELAY_STATUS = "hubble status --server localhost:4245 -o json"
DIGESTS = {
    "cilium-operator": (
        "quay.io/cilium/operator-generic:v1.14.2"
        "@sha256:52f70250dea22e506959439a7c4ea31b10fe8375db62f5c27ab746e3a2af866d"
    ),
    "hubble-relay": (
        "quay.io/cilium/hubble-relay:v1.14.2"
        "@sha256:a89030b31f333e8fb1c10d2473250399a1a537c27d022cd8becc1a65d1bef1d6"
    ),
    "backend": (
        "quay.io/cilium/hubble-ui-backend:v0.12.0"
        "@sha256:8a79a1aad4fc9c2aa2b3e4379af0af872a89fcec9d99e117188190671c66fc2e"
    ),
    # One digit short, as the article prints it.
    "frontend": (
        "quay.io/cilium/hubble-ui:v0.12.0"
        "@sha256:1c876cfa1d5e35bc91e1025c9314f922041592a88b03313c22c1f97a5d2ba88f"
    ),
    "cilium": (
        "quay.io/cilium/cilium:v1.14.2"
        "@sha256:6263f3a3d5d63b267b538298dbeb5ae87da3efacf09a2c620446c873ba807d35"
    ),
}
Object = dict[str, Any]


def daemon_set(name: str, desired: int, ready: int | None = None, **labels: str) -> Object:
    """A DaemonSet whose roll-out is complete but for pods that are not ready."""
    ready = desired if ready is None else ready
    return {
        "metadata": {"name": name, "generation": 1, "labels": labels},
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": desired,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": desired - ready,
            "updatedNumberScheduled": desired,
        },
    }


def deployment(name: str, replicas: int) -> Object:
    """A Deployment whose replicas are all ready."""
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "updatedReplicas": replicas,
        },
    }


def pod(
    name: str, label: str, images: dict[str, str], phase: str = "Running", host: bool = True
) -> Object:
    """A pod with one container per image, running."""
    key, _, value = label.partition("=")
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {key: value}},
        "spec": {
            "nodeName": "node1",
            "hostNetwork": host,
            "containers": [{"name": n, "image": image} for n, image in images.items()],
        },
        "status": {
            "phase": phase,
            "containerStatuses": [
                {"name": n, "imageID": "", "state": {"running": {}}, "lastState": {}}
                for n in images
            ],
        },
    }


AGENT_OK: Object = {
    "cilium": {"state": "Ok", "msg": "0.1.0"},
    "kubernetes": {"state": "Ok", "msg": "1.36"},
    "controllers": [],
}
ENDPOINTS_OK: list[Object] = [{"id": 1, "status": {"state": "ready"}}]


class FakeApi:
    """Objects by path, pods by list, and replies of commands by pod and command."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.pods: list[Object] = []
        self.endpoints: list[Object] = []
        self.replies: dict[tuple[str, str], tuple[int, str]] = {}
        self.statuses: dict[str, int] = {}
        self.requests: list[web.Request] = []
        self.page = 0
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self._handle)
        self.server = ""

    @property
    def access(self) -> Access:
        """Return how to reach it."""
        return Access(server=self.server)

    def add(self, kind: str, found: Object) -> None:
        """Hold an object of daemonsets or deployments."""
        name = found["metadata"]["name"]
        self.objects[f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}/{name}"] = found

    def config(self, data: dict[str, str], **annotations: str) -> None:
        """Hold ConfigMap cilium-config."""
        self.objects[f"/api/v1/namespaces/{NAMESPACE}/configmaps/cilium-config"] = {
            "metadata": {"name": "cilium-config", "annotations": annotations},
            "data": data,
        }

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        path = request.path
        if path in self.statuses:
            code = self.statuses[path]
            return web.json_response({"message": f"no access to {path}"}, status=code)
        if path.endswith("/exec"):
            return await self._exec(request)
        if path.endswith("/log"):
            return web.Response(text="first\npanic: it broke\n")
        if path.endswith("/pods"):
            wanted = request.query.get("labelSelector", "")
            labels = [pair.partition("=")[::2] for pair in wanted.split(",") if pair]
            found = [
                p for p in self.pods if all(p["metadata"]["labels"].get(k) == v for k, v in labels)
            ]
            return self._list(request, found)
        if path == "/apis/cilium.io/v2/ciliumendpoints":
            return self._list(request, self.endpoints)
        if path in self.objects:
            return web.json_response(self.objects[path])
        kind, _, name = path.rpartition("/")
        resource = kind.rpartition("/")[2]
        group = ".apps" if "/apps/" in path else ""
        return web.json_response(
            {"kind": "Status", "message": f'{resource}{group} "{name}" not found'}, status=404
        )

    def _list(self, request: web.Request, found: list[Object]) -> web.Response:
        """Answer in pages of `page` when it is set, as the API server does for `limit`."""
        start = int(request.query.get("continue", "0"))
        end = start + self.page if self.page else len(found)
        resume = str(end) if end < len(found) else ""
        return web.json_response({"metadata": {"continue": resume}, "items": found[start:end]})

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
        await socket.prepare(request)
        name = request.path.split("/")[-2]
        command = " ".join(request.query.getall("command"))
        code, text = self.replies.get((name, command), (127, f"{command}: not found"))
        half = len(text) // 2
        for part in (text[:half], text[half:]):
            await socket.send_bytes((b"\x02" if code else b"\x01") + part.encode())
        status: Object = {"status": "Success"}
        if code:
            cause = {"reason": "ExitCode", "message": str(code)}
            status = {"status": "Failure", "message": "ended", "details": {"causes": [cause]}}
        await socket.send_bytes(b"\x03" + json.dumps(status).encode())
        await socket.close()
        return socket

    def agent(self, name: str, status: Any = AGENT_OK, endpoints: Any = ENDPOINTS_OK) -> None:
        """Set what an agent replies."""
        self.replies[(name, "cilium-dbg status -o json")] = (0, json.dumps(status))
        self.replies[(name, "cilium-dbg endpoint list -o json")] = (0, json.dumps(endpoints))


def article(api: FakeApi) -> None:
    """Fill the server with the cluster that the article shows."""
    api.add("daemonsets", daemon_set("cilium", 3))
    api.add("deployments", deployment("cilium-operator", 1))
    api.add("deployments", deployment("hubble-relay", 1))
    api.add("deployments", deployment("hubble-ui", 1))
    for number in range(3):
        name = f"cilium-{number}"
        api.pods.append(pod(name, "k8s-app=cilium", {"cilium-agent": DIGESTS["cilium"]}))
        api.agent(name)
    operator = pod("op", "io.cilium/app=operator", {"operator": DIGESTS["cilium-operator"]})
    operator["metadata"]["labels"]["name"] = "cilium-operator"
    api.pods.append(operator)
    relay = {"relay": DIGESTS["hubble-relay"]}
    api.pods.append(pod("relay", "k8s-app=hubble-relay", relay, host=False))
    healthy = {"num_connected_nodes": 3, "num_unavailable_nodes": 0}
    api.replies[("relay", RELAY_STATUS)] = (0, json.dumps(healthy))
    ui = {"backend": DIGESTS["backend"], "frontend": DIGESTS["frontend"]}
    api.pods.append(pod("ui", "k8s-app=hubble-ui", ui, host=False))
    api.pods += [pod(f"app-{n}", "app=x", {"app": "x"}, host=False) for n in range(16)]
    api.pods.append(pod("finished", "app=x", {"app": "x"}, phase="Succeeded", host=False))
    api.endpoints = [{"metadata": {"name": str(n)}} for n in range(15)]
    api.config({"cluster-name": "kubernetes"})


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """An empty API server that listens on loopback."""
    fake = FakeApi()
    server = TestServer(fake.app)
    await server.start_server()
    fake.server = str(server.make_url("")).rstrip("/")
    yield fake
    await server.close()
