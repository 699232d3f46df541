# SPDX-License-Identifier: Apache-2.0
"""Findings about controllers and pods, with upstream's texts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cilium_cli.status.controllers import add_daemon_set, add_deployment, add_pods
from cilium_cli.status.model import Status
from cilium_cli.status.objects import Container, DaemonSet, Deployment, Pod, image_of

from ..conftest import daemon_set, deployment, pod


def test_daemon_set_that_is_not_ready() -> None:
    status = Status()
    add_daemon_set(status, "cilium", msgspec.convert(daemon_set("cilium", 3, 1), DaemonSet))
    found = status.findings("cilium", "cilium")
    assert found.errors == ["2 pods of DaemonSet cilium are not ready"]
    assert found.warnings == ["2 pods of DaemonSet cilium are not available"]
    state = status.pod_state["cilium"]
    assert (state.desired, state.ready, state.unavailable) == (3, 1, 2)


def test_roll_out() -> None:
    status = Status()
    changed = daemon_set("cilium", 3)
    changed["metadata"]["generation"] = 2
    add_daemon_set(status, "cilium", msgspec.convert(changed, DaemonSet))
    rolling = deployment("cilium-operator", 2)
    rolling["status"]["updatedReplicas"] = 1
    add_deployment(status, "cilium-operator", msgspec.convert(rolling, Deployment))
    assert status.findings("cilium", "cilium").errors == [
        "daemonset cilium is updated but rollout has not started"
    ]
    assert status.findings("cilium-operator", "cilium-operator").errors == [
        "deployment cilium-operator is rolling out - 1 out of 2 pods updated"
    ]


def test_nothing_wanted_is_said() -> None:
    status = Status()
    for name in ("cilium-operator", "hubble-relay"):
        add_deployment(status, name, msgspec.convert(deployment(name, 0), Deployment))
    add_daemon_set(status, "cilium", msgspec.convert(daemon_set("cilium", 0), DaemonSet))
    assert status.problems(warnings=True) == [
        "cilium: DaemonSet cilium wants 0 pods; at least one must run",
        "cilium-operator: Deployment cilium-operator wants 0 pods; at least one must run",
        "hubble-relay: Deployment hubble-relay wants 0 pods",
    ]
    assert len(status.problems(warnings=False)) == 2


@pytest.mark.parametrize(
    ("phase", "reason", "errors", "warnings"),
    [
        ("Running", "", [], []),
        ("Pending", "", [], ["pod is pending"]),
        ("Failed", "OOMKilled", ["pod has failed: OOMKilled - m"], []),
        ("Failed", "Evicted", [], []),
    ],
)
def test_pods(phase: str, reason: str, errors: list[str], warnings: list[str]) -> None:
    status = Status()
    raw = pod("p", "a=b", {"c": "i"}, phase=phase)
    raw["status"] |= {"reason": reason, "message": "m"}
    add_pods(status, "cilium", [msgspec.convert(raw, Pod)])
    found = status.findings("cilium", "p")
    assert (found.errors, found.warnings) == (errors, warnings)
    assert status.phase_count == {"cilium": {phase: 1}}
    assert status.image_count == {"cilium": {"i": 1}}


def test_containers_of_one_image_count_once_a_pod() -> None:
    status = Status()
    two = [msgspec.convert(pod(name, "a=b", {"c": "i", "d": "i"}), Pod) for name in ("p", "q")]
    add_pods(status, "cilium", two)
    assert status.image_count == {"cilium": {"i": 2}}


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "image_id", "expected"),
    [
        ("r/a:1", f"r/a@{DIGEST}", f"r/a:1@{DIGEST}"),
        ("a:1", f"docker.io/library/a@{DIGEST}", f"a:1@{DIGEST}"),
        ("r:5000/a", f"r:5000/a@{DIGEST}", f"r:5000/a@{DIGEST}"),
        ("r/a:1", DIGEST, "r/a:1"),
        ("r/a:1", f"r/other@{DIGEST}", "r/a:1"),
        (f"r/a:1@{DIGEST}", f"r/a@{DIGEST}", f"r/a:1@{DIGEST}"),
    ],
)
def test_digest_only_from_a_registry(image: str, image_id: str, expected: str) -> None:
    raw: dict[str, Any] = pod("p", "a=b", {"c": image})
    raw["status"]["containerStatuses"][0]["imageID"] = image_id
    assert image_of(msgspec.convert(raw, Pod), Container("c", image)) == expected
