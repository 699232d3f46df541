# SPDX-License-Identifier: Apache-2.0
"""Which CiliumEndpoints are collected: those whose pod is gone, has ended or is another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest

from cilium_operator.gc.runner import collect_endpoints
from cilium_operator.kube.client import ApiClient
from cilium_operator.metrics import Metrics

ENDPOINTS = "/apis/cilium.io/v2/ciliumendpoints"


class Cluster:
    """Endpoints and pods; knows field selectors of the form `path!=value,…`."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {ENDPOINTS: [], "/api/v1/pods": []}
        self.deleted: list[tuple[str, str]] = []

    def endpoint(self, name: str, pod_uid: str = "") -> None:
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}
        meta = {"name": name, "namespace": "shop", "uid": f"cep-{name}"}
        if pod_uid:
            meta["ownerReferences"] = [owner]  # type: ignore[assignment]
        self.objects[ENDPOINTS].append({"metadata": meta})

    def pod(self, name: str, uid: str, phase: str = "Running") -> None:
        meta = {"name": name, "namespace": "shop", "uid": uid}
        self.objects["/api/v1/pods"].append({"metadata": meta, "status": {"phase": phase}})

    async def items(
        self, path: str, kind: Any, *, fields: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Any]:
        words = [word.split("!=") for word in fields.split(",") if word]
        assert {name for name, _ in words} <= {"status.phase"}
        refused = {value for _, value in words}
        for item in self.objects[path]:
            if item.get("status", {}).get("phase") not in refused:
                shown = {"metadata": item["metadata"]} if metadata_only else item
                yield msgspec.convert(shown, kind)

    async def delete(self, path: str, *, uid: str) -> None:
        self.deleted.append((path.rpartition("/")[2], uid))


@pytest.mark.parametrize(
    ("owner", "pod", "goes"),
    [
        ("u1", ("u1", "Running"), False),
        ("u1", ("u1", "Pending"), False),
        ("u1", ("u1", "Succeeded"), True),
        ("u1", ("u1", "Failed"), True),
        ("u1", ("u2", "Running"), True),
        ("u1", None, True),
        ("", ("u1", "Running"), False),
        ("", None, True),
    ],
)
async def test_an_endpoint_lives_as_long_as_its_pod(
    owner: str, pod: tuple[str, str] | None, goes: bool
) -> None:
    cluster = Cluster()
    cluster.endpoint("web", owner)
    cluster.endpoint("other", "o")
    cluster.pod("other", "o")
    if pod is not None:
        cluster.pod("web", *pod)
    await collect_endpoints(cast(ApiClient, cluster), Metrics())
    assert cluster.deleted == ([("web", "cep-web")] if goes else [])
