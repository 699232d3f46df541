# SPDX-License-Identifier: Apache-2.0
"""Which patches a node gets, and that they touch the taint and one condition only."""

from __future__ import annotations

from datetime import UTC, datetime

from cilium_operator.config import parse
from cilium_operator.taints import NodePatch, decide, newest
from cilium_operator.views import AgentView, NodeView

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TAINT = {"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}
OTHER = {"key": "example.com/other", "effect": "NoExecute"}
DEFAULT = parse({})
SETTING = parse({"set-cilium-node-taints": "true"})


def node(*taints: dict[str, str], up: str = "") -> NodeView:
    return NodeView(name="n", uid="u", version="7", created="", taints=taints, up_reason=up)


def agent(ready: bool, created: str = "1") -> AgentView:
    return AgentView(name="a", uid=created, version="1", created=created, node="n", ready=ready)


def test_a_ready_agent_frees_the_node() -> None:
    patch = decide(node(OTHER, TAINT), agent(True), DEFAULT, NOW)
    assert patch.node == {"metadata": {"resourceVersion": "7"}, "spec": {"taints": [OTHER]}}
    assert patch.status is not None
    (condition,) = patch.status["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("NetworkUnavailable", "False")
    assert condition["reason"] == "CiliumIsUp"
    assert condition["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_nothing_to_do_is_no_patch() -> None:
    assert decide(node(OTHER, up="CiliumIsUp"), agent(True), SETTING, NOW) == NodePatch()
    assert decide(node(OTHER, TAINT), agent(False), SETTING, NOW) == NodePatch()
    assert decide(node(OTHER), None, SETTING, NOW) == NodePatch()


def test_the_taint_comes_back_only_when_configured() -> None:
    assert decide(node(OTHER), agent(False), DEFAULT, NOW) == NodePatch()
    patch = decide(node(OTHER), agent(False), SETTING, NOW)
    assert patch.node is not None
    assert patch.node["spec"]["taints"] == [OTHER, {**TAINT, "value": "true"}]
    assert patch.status is None


def test_removal_and_condition_can_be_turned_off() -> None:
    off = parse({"remove-cilium-node-taints": "false", "set-cilium-is-up-condition": "false"})
    assert decide(node(TAINT), agent(True), off, NOW) == NodePatch()


def test_a_ready_pod_counts_before_a_younger_one() -> None:
    assert newest([agent(True, "1"), agent(False, "2")]) == agent(True, "1")
    assert newest([agent(False, "1"), agent(False, "2")]) == agent(False, "2")
    assert newest([]) is None
