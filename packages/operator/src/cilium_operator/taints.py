# SPDX-License-Identifier: Apache-2.0
"""The only writes to Nodes: the agent-not-ready taint and the NetworkUnavailable condition.

Which patch a node needs is decided purely from the node and its agent's pod. The taint list is
replaced whole, guarded by the node's resourceVersion, because others write taints too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from cilium_operator.config import Settings
from cilium_operator.views import AgentView, NodeView

UP_REASON = "CiliumIsUp"


class NodePatch(msgspec.Struct, frozen=True):
    """Patches a node needs: of itself (merge) and of its status (strategic); None for neither."""

    node: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None


def decide(node: NodeView, agent: AgentView | None, settings: Settings, now: datetime) -> NodePatch:
    """Return what must change on the node. A node without an agent's pod is left alone."""
    if agent is None:
        return NodePatch()
    if agent.ready:
        return NodePatch(
            node=_without_taint(node, settings) if settings.remove_taints else None,
            status=_up(now) if settings.set_up_condition and node.up_reason != UP_REASON else None,
        )
    return NodePatch(node=_with_taint(node, settings) if settings.set_taints else None)


def newest(agents: list[AgentView]) -> AgentView | None:
    """Return the pod that counts on a node: a ready one, else the youngest."""
    return max(agents, key=lambda pod: (pod.ready, pod.created, pod.name), default=None)


def _without_taint(node: NodeView, settings: Settings) -> Mapping[str, Any] | None:
    kept = [dict(taint) for taint in node.taints if taint.get("key") != settings.taint_key]
    return None if len(kept) == len(node.taints) else _taints(node, kept)


def _with_taint(node: NodeView, settings: Settings) -> Mapping[str, Any] | None:
    if any(taint.get("key") == settings.taint_key for taint in node.taints):
        return None
    taint = {"key": settings.taint_key, "value": "true", "effect": "NoSchedule"}
    return _taints(node, [*(dict(one) for one in node.taints), taint])


def _taints(node: NodeView, taints: list[dict[str, Any]]) -> Mapping[str, Any]:
    return {"metadata": {"resourceVersion": node.version}, "spec": {"taints": taints}}


def _up(now: datetime) -> Mapping[str, Any]:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": UP_REASON,
        "message": "Cilium is running on this node",
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }
    return {"status": {"conditions": [condition]}}
