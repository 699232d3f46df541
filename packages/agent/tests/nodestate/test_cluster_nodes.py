# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes as CiliumNodes come, change and go."""

from __future__ import annotations

from cilium_agent.nodestate.facts import ClusterNodeFact, Fact
from cilium_agent.nodestate.state import NodeState
from cilium_agent.nodestate.teller import Teller
from cilium_core.crds.models import CiliumNode, CiliumNodeSpec, NodeAddress, ObjectMeta


def node(name: str, *addresses: str) -> CiliumNode:
    entries = [NodeAddress(type="InternalIP", ip=text) for text in addresses]
    return CiliumNode(metadata=ObjectMeta(name=name), spec=CiliumNodeSpec(addresses=entries))


def told(state: NodeState) -> list[Fact]:
    return [fact for fact in state.snapshot()[1] if isinstance(fact, ClusterNodeFact)]


def test_nodes_are_told_with_the_address_that_others_use() -> None:
    state = NodeState()
    teller = Teller(state, "a", "default")
    first = node("a", "fd00::1", "172.30.0.11")
    teller.cluster_node(None, first)
    teller.cluster_node(None, node("b"))
    assert told(state) == [ClusterNodeFact("a", "172.30.0.11"), ClusterNodeFact("b", "")]
    revision = state.revision
    teller.cluster_node(first, node("a", "fd00::1", "172.30.0.11"))
    assert state.revision == revision
    teller.cluster_node(first, None)
    assert told(state) == [ClusterNodeFact("b", "")]
