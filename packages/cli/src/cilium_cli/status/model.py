# SPDX-License-Identifier: Apache-2.0
"""The collected status, in the shape and with the key names of `cilium status -o json`."""

from __future__ import annotations

from typing import Any

import msgspec

AGENT = "cilium"
OPERATOR = "cilium-operator"
ENVOY = "cilium-envoy"
RELAY = "hubble-relay"
UI = "hubble-ui"
CLUSTERMESH = "clustermesh-apiserver"


class PodState(msgspec.Struct):
    """Replica counts of one controller. `type` is DaemonSet or Deployment."""

    type: str = msgspec.field(name="Type")
    desired: int = msgspec.field(default=0, name="Desired")
    ready: int = msgspec.field(default=0, name="Ready")
    available: int = msgspec.field(default=0, name="Available")
    unavailable: int = msgspec.field(default=0, name="Unavailable")


class PodsCount(msgspec.Struct):
    """Pods that need networking, and those that have a CiliumEndpoint."""

    all: int = 0
    by_cilium: int = 0


class Findings(msgspec.Struct):
    """Errors and warnings about one pod (or the controller itself)."""

    errors: list[str] = msgspec.field(default_factory=list, name="Errors")
    warnings: list[str] = msgspec.field(default_factory=list, name="Warnings")
    disabled: bool = msgspec.field(default=False, name="Disabled")


class Status(msgspec.Struct):
    """Everything that one collection found. Maps are by controller, then image, phase or pod."""

    image_count: dict[str, dict[str, int]] = {}
    phase_count: dict[str, dict[str, int]] = {}
    pod_state: dict[str, PodState] = {}
    pods_count: PodsCount = msgspec.field(default_factory=PodsCount)
    cilium_status: dict[str, Any] = {}
    cilium_endpoints: dict[str, list[Any]] = {}
    errors: dict[str, dict[str, Findings]] = {}
    collection_errors: list[str] = []
    helm_chart_version: str = ""
    config_errors: list[str] = []
    features_not_available: list[str] = []

    def findings(self, controller: str, pod: str) -> Findings:
        """Return the findings about a pod, to add to."""
        return self.errors.setdefault(controller, {}).setdefault(pod, Findings())

    def error(self, controller: str, pod: str, message: str) -> None:
        """Record an error."""
        self.findings(controller, pod).errors.append(message)

    def warning(self, controller: str, pod: str, message: str) -> None:
        """Record a warning."""
        self.findings(controller, pod).warnings.append(message)

    def disable(self, controller: str) -> None:
        """Record that a component is not installed."""
        self.findings(controller, controller).disabled = True

    def count(self, controller: str) -> tuple[int, int]:
        """Return the numbers of errors and warnings of a controller."""
        found = self.errors.get(controller, {}).values()
        return sum(len(f.errors) for f in found), sum(len(f.warnings) for f in found)

    def disabled(self, controller: str) -> bool:
        """Return whether the component is not installed."""
        return any(f.disabled for f in self.errors.get(controller, {}).values())

    def problems(self, *, warnings: bool) -> list[str]:
        """Return all errors, and warnings if asked, each with its controller."""
        found: list[str] = list(self.collection_errors)
        for controller, pods in sorted(self.errors.items()):
            for findings in pods.values():
                texts = findings.errors + (findings.warnings if warnings else [])
                found += [f"{controller}: {text}" for text in texts]
        return found


def to_json(status: Status) -> str:
    """Return the status as upstream's JSON: one space of indent, the same top keys."""
    return msgspec.json.format(msgspec.json.encode(status), indent=1).decode()
