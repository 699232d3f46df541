# SPDX-License-Identifier: Apache-2.0
"""Pods as CNI asks for them, and access to the API server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_api import FakeApi, eventually, serving

from cilium_agent.errors import PodGone
from cilium_agent.k8s.pods import PodReader
from cilium_agent.k8s.watches import Watches
from cilium_core.errors import ConfigError
from cilium_core.labels import LabelFilter
from cilium_core.process import access

POD = {
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "labels": {"app": "web", "pod-template-hash": "x"},
    },
    "spec": {
        "nodeName": "node1",
        "serviceAccountName": "seller",
        "containers": [{"ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]}],
    },
    "status": {"phase": "Pending"},
}


async def test_pod_and_its_security_labels() -> None:
    api = FakeApi()
    api.put("/api/v1/namespaces/shop/pods", dict(POD))
    api.put("/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"team": "a"}}})
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        reader = PodReader(client, watches.namespaces, LabelFilter(), "kind")
        pod = await reader.get("shop", "web", "u1")
        assert (pod.node, pod.service_account, pod.host_network) == ("node1", "seller", False)
        assert pod.named_ports == (("http", 80, "TCP"),)
        waiting = asyncio.create_task(reader.security_labels(pod))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "namespaces are not listed yet"
        watch = asyncio.create_task(watches.namespaces.run())
        assert await waiting == {
            "k8s:app": "web",
            "k8s:io.cilium.k8s.named-ports": "http=80/TCP",
            "k8s:io.cilium.k8s.namespace.labels.team": "a",
            "k8s:io.cilium.k8s.policy.cluster": "kind",
            "k8s:io.cilium.k8s.policy.serviceaccount": "seller",
            "k8s:io.kubernetes.pod.namespace": "shop",
        }
        watch.cancel()


async def test_a_pod_that_went_or_was_replaced_is_gone() -> None:
    api = FakeApi()
    api.put("/api/v1/namespaces/shop/pods", dict(POD))
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        reader = PodReader(client, watches.namespaces, LabelFilter(), "kind")
        with pytest.raises(PodGone, match="not u2"):
            await reader.get("shop", "web", "u2")
        with pytest.raises(PodGone, match="shop/other"):
            await reader.get("shop", "other", "u1")
        assert (await reader.get("shop", "web", "")).uid == "u1"


async def test_a_static_pod_is_known_by_the_runtimes_uid_too() -> None:
    """The kubelet gives the runtime the uid of the file; the API server has its mirror's."""
    api = FakeApi()
    meta = {**POD["metadata"], "annotations": {"kubernetes.io/config.mirror": "hash"}}
    api.put("/api/v1/namespaces/shop/pods", {**POD, "metadata": meta})
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        reader = PodReader(client, watches.namespaces, LabelFilter(), "kind")
        assert (await reader.get("shop", "web", "hash")).uid == "u1"
        with pytest.raises(PodGone):
            await reader.get("shop", "web", "other")


async def test_an_address_that_is_none_does_not_hide_the_pod() -> None:
    api = FakeApi()
    status = {"podIPs": [{"ip": "010.0.0.1"}, {"ip": "fd00::1"}]}
    api.put("/api/v1/namespaces/shop/pods", {**POD, "status": status})
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        reader = PodReader(client, watches.namespaces, LabelFilter(), "kind")
        found = await reader.get("shop", "web", "")
        assert [str(address) for address in found.addresses] == ["fd00::1"]


async def test_watches_are_narrow() -> None:
    api = FakeApi()
    async with serving(api) as client:
        watches = Watches.of(client, "node1")
        tasks = [asyncio.create_task(informer.run()) for informer in watches.all()]
        await eventually(lambda: all(informer.synced.is_set() for informer in watches.all()))
        for task in tasks:
            task.cancel()
    paths = [path for _, path in api.requests]
    pods = [path for path in paths if path.startswith("/api/v1/pods")]
    assert pods
    assert all("fieldSelector=spec.nodeName%3Dnode1" in path for path in pods)
    nodes = [path for path in paths if path.startswith("/api/v1/nodes")]
    assert all("fieldSelector=metadata.name%3Dnode1" in path for path in nodes)


def account(folder: Path) -> Path:
    import ssl

    (folder / "token").write_text("one\n")
    bundle = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    (folder / "ca.crt").write_text(Path(bundle).read_text())
    return folder


def test_servers_in_order_of_preference(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = access.in_cluster(environment, account(tmp_path), "172.30.0.10:6443,[fd00::1]:6443")
    assert found.servers == (("fd00::1", 6443), ("172.30.0.10", 6443))
    assert found.name == "kubernetes.default.svc"
    alone = access.in_cluster(environment, tmp_path)
    assert alone.name == "fd00::1"
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        access.in_cluster({}, tmp_path)


def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    token = access.in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, account(tmp_path)).token
    assert token.current() == "one"
    (tmp_path / "token").write_text("two")
    assert token.current() == "one", "not read for every request"
    token.forget()
    assert token.current() == "two"
