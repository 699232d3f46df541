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


def images(*refs: tuple[str, str]) -> dict[str, str]:
    lines = (
        f"{ref:<60} application/vnd.oci {digest} 1.0 MiB linux/amd64 -" for ref, digest in refs
    )
    return image_digests(HEAD + "\n".join(lines) + "\n")


BOTH = images((NAME, "sha256:d2"), ("sha256:old", "sha256:d1"), ("sha256:new", "sha256:d2"))


def test_a_pod_of_an_older_build_has_its_workload_restarted() -> None:
    assert outdated([pod("old")], {"node1": BOTH}) == ["daemonset/cilium"]
    assert outdated([pod("new")], {"node1": BOTH}) == []


def test_a_build_that_the_node_gave_up_is_an_older_one() -> None:
    held = images((NAME, "sha256:d2"), ("sha256:new", "sha256:d2"))
    assert outdated([pod("old")], {"node1": held}) == ["daemonset/cilium"]


def test_each_workload_is_named_once_and_a_deployment_by_its_own_name() -> None:
    found = [pod("old", owner="ReplicaSet", name=f"web-{n}") for n in ("5d6f7", "5d6f7")]
    assert outdated(found, {"node1": BOTH}) == ["deployment/web"]


def test_what_cannot_be_compared_is_left_alone() -> None:
    bare = {**pod("old"), "metadata": {}}
    starting = {**pod("old"), "status": {}}
    elsewhere = pod("old", node="node2")
    assert outdated([bare, starting, elsewhere], {"node1": BOTH, "node2": {}}) == []
