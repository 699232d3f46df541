# SPDX-License-Identifier: Apache-2.0
"""Which workloads run an older build than their node has."""

from __future__ import annotations

from typing import Any

from e2e.builds import image_digests, outdated

NAME = "localhost/agent:0.1.0"
HEAD = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"


def pod(build: str, node: str = "node1", owner: str = "DaemonSet", name: str = "cilium") -> Any:
    return {
        "metadata": {"ownerReferences": [{"kind": owner, "name": name}]},
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [{"image": NAME, "imageID": f"sha256:{build}"}]},
    }


def test_a_pod_of_an_older_build_has_its_workload_restarted() -> None:
    held = {"node1": {NAME: "sha256:new"}}
    assert outdated([pod("old")], held) == ["daemonset/cilium"]
    assert outdated([pod("new")], held) == []


def test_each_workload_is_named_once_and_a_deployment_by_its_own_name() -> None:
    found = [pod("old", owner="ReplicaSet", name=f"web-{n}") for n in ("5d6f7", "5d6f7")]
    assert outdated(found, {"node1": {NAME: "sha256:new"}}) == ["deployment/web"]


def test_what_cannot_be_compared_is_left_alone() -> None:
    bare = {**pod("old"), "metadata": {}}
    starting = {**pod("old"), "status": {}}
    elsewhere = pod("old", node="node2")
    held = {"node1": {NAME: "sha256:new"}, "node2": {}}
    assert outdated([bare, starting, elsewhere], held) == []


def test_the_list_of_containerd_is_read() -> None:
    line = f"{NAME:<60} application/vnd.oci.image.manifest.v1+json sha256:d2 1.0 MiB linux/amd64 -"
    assert image_digests(f"{HEAD}{line}\n\n") == {NAME: "sha256:d2"}
