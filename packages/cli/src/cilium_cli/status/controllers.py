# SPDX-License-Identifier: Apache-2.0
"""Findings about DaemonSets, Deployments and their pods; pure, from decoded objects."""

from __future__ import annotations

from collections.abc import Iterable

from cilium_cli.status.model import AGENT, OPERATOR, PodState, Status
from cilium_cli.status.objects import DaemonSet, Deployment, Pod, image_of

_MUST_RUN = frozenset({AGENT, OPERATOR})
# The scheduler or the node put these pods away; their controller replaces them.
_REPLACED = frozenset(
    {
        "TaintToleration",
        "NodeAffinity",
        "NodeLost",
        "Evicted",
        "Shutdown",
        "Preempting",
        "UnexpectedAdmissionError",
    }
)


def add_daemon_set(status: Status, name: str, found: DaemonSet) -> None:
    """Record a DaemonSet's counts and what is wrong with its roll-out."""
    now = found.status
    state = PodState(
        type="DaemonSet",
        desired=now.desired_number_scheduled,
        ready=now.number_ready,
        available=now.number_available,
        unavailable=now.number_unavailable,
    )
    seen = now.observed_generation == found.metadata.generation
    _add(status, name, state, seen, now.updated_number_scheduled)


def add_deployment(status: Status, name: str, found: Deployment) -> None:
    """Record a Deployment's counts and what is wrong with its roll-out."""
    now = found.status
    state = PodState(
        type="Deployment",
        desired=found.spec.replicas,
        ready=now.ready_replicas,
        available=now.available_replicas,
        unavailable=now.unavailable_replicas,
    )
    seen = now.observed_generation == found.metadata.generation
    _add(status, name, state, seen, now.updated_replicas)


def _add(status: Status, name: str, state: PodState, seen: bool, updated: int) -> None:
    status.pod_state[name] = state
    kind = state.type
    if not state.desired and seen:
        if name in _MUST_RUN:
            status.error(name, name, f"{kind} {name} wants 0 pods; at least one must run")
        else:
            status.warning(name, name, f"{kind} {name} wants 0 pods")
    not_ready = state.desired - state.ready
    not_available = state.desired - state.available
    if not_ready > 0:
        status.error(name, name, f"{not_ready} pods of {kind} {name} are not ready")
    if not_available > 0:
        status.warning(name, name, f"{not_available} pods of {kind} {name} are not available")
    if not seen:
        status.error(name, name, f"{kind.lower()} {name} is updated but rollout has not started")
    elif updated < state.desired:
        status.error(
            name,
            name,
            f"{kind.lower()} {name} is rolling out - {updated} out of {state.desired} pods updated",
        )


def add_pods(status: Status, name: str, pods: Iterable[Pod]) -> None:
    """Record phases and images of a controller's pods, and pods that are pending or failed."""
    phases = status.phase_count.setdefault(name, {})
    images = status.image_count.setdefault(name, {})
    for pod in pods:
        phase = pod.status.phase or "Unknown"
        phases[phase] = phases.get(phase, 0) + 1
        # Containers of one image count once: the figure tells how many pods run it.
        for image in {image_of(pod, container) for container in pod.spec.containers}:
            images[image] = images.get(image, 0) + 1
        if phase == "Pending":
            status.warning(name, pod.metadata.name, "pod is pending")
        elif phase == "Failed" and pod.status.reason not in _REPLACED:
            text = f"pod has failed: {pod.status.reason} - {pod.status.message}"
            status.error(name, pod.metadata.name, text)
