# SPDX-License-Identifier: Apache-2.0
"""Facts and their changes: no news for equal values, every change in order, bounded memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.model import Endpoint
from cilium_agent.nodestate.facts import (
    EndpointFact,
    Fact,
    IdentityFact,
    NodeFact,
    PrefixFact,
    RuleFact,
    Workload,
    label_texts,
    of_endpoint,
    of_policy,
)
from cilium_agent.nodestate.state import Change, NodeState
from cilium_core.policy.bits import Role, Use
from cilium_core.policy.rules import (
    Direction,
    Operator,
    Origin,
    PeerSet,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)

NODE = NodeFact("worker", "default")
A = IdentityFact(1000, ("k8s:a=b",))
B = PrefixFact("10.0.1.2/32", 1000, "ns", "pod")


def test_equal_values_are_no_news() -> None:
    state = NodeState()
    state.put(NODE, A, B)
    state.put(A, replace(B))
    assert state.revision == 3
    assert state.since(1) == [Change(A), Change(B)]
    state.remove(IdentityFact, 5, 1000, 1000)
    assert state.since(3) == [Change(A, removed=True)]
    assert state.snapshot() == (4, [NODE, B])


def test_replacing_a_kind_leaves_the_others() -> None:
    state = NodeState()
    state.put(NODE, A, B)
    other = IdentityFact(1001, ())
    state.replace(IdentityFact, [other])
    assert state.since(3) == [Change(other), Change(A, removed=True)]
    state.replace(NodeFact, [])
    state.remove(NodeFact, ())
    assert set(state.snapshot()[1]) == {NODE, B, other}


def test_a_log_that_is_too_short_says_so() -> None:
    state = NodeState(log_changes=2)
    state.put(NODE, A, B)
    assert state.since(0) is None
    assert state.since(1) == [Change(A), Change(B)]
    assert state.since(3) == []
    assert state.since(4) is None  # of a future that this epoch has not had


def test_epochs_differ() -> None:
    assert NodeState().epoch != NodeState().epoch


async def test_waiting() -> None:
    state = NodeState()
    opened = asyncio.create_task(state.opened())
    changed = asyncio.create_task(state.wait(1))
    state.put(NODE)
    await asyncio.sleep(0)
    assert not opened.done()
    assert not changed.done()
    state.open()
    state.put(A)
    await asyncio.wait_for(asyncio.gather(opened, changed), 1)


FACTS = st.builds(IdentityFact, st.integers(0, 4), st.sampled_from([(), ("k8s:a=b",)])) | st.builds(
    PrefixFact, st.sampled_from(["10.0.0.1/32", "10.0.0.2/32"]), st.integers(0, 2)
)


@given(st.lists(st.tuples(st.booleans(), FACTS), max_size=40), st.integers(1, 50), st.data())
def test_changes_replayed_over_any_past_give_the_present(
    steps: list[tuple[bool, Fact]], log: int, data: st.DataObject
) -> None:
    state = NodeState(log_changes=log)
    pasts: dict[int, dict[object, Fact]] = {0: {}}
    for put, fact in steps:
        state.put(fact) if put else state.remove(type(fact), fact.key)
        revision, facts = state.snapshot()
        pasts[revision] = {(type(f), f.key): f for f in facts}
    start = data.draw(st.sampled_from(sorted(pasts)))
    changes = state.since(start)
    if changes is None:
        assert state.revision - start > log
        return
    replayed = dict(pasts[start])
    for change in changes:
        key = (type(change.fact), change.fact.key)
        if change.removed:
            del replayed[key]
        else:
            replayed[key] = change.fact
    assert replayed == pasts[state.revision]
    assert len(changes) == state.revision - start


def test_what_is_told_of_an_endpoint() -> None:
    endpoint = Endpoint(
        endpoint_id=7,
        container_id="c",
        interface="eth0",
        netns="/n",
        pod_namespace="shop",
        pod_name="web-1",
        pod_uid="u",
        ipv4=IPv4Address("10.0.0.10"),
        ipv6=IPv6Address("fd00::10"),
        host_interface="lxc1",
        host_ifindex=3,
        mac=bytes(6),
        node_mac=bytes(6),
        identity=1001,
        labels={"k8s:b": "", "k8s:a": "1", "reserved:init": ""},
    )
    web = Workload("Deployment", "web")
    assert of_endpoint(endpoint, web) == EndpointFact(
        7,
        "shop",
        "web-1",
        1001,
        ("k8s:a=1", "k8s:b", "reserved:init"),
        ("10.0.0.10", "fd00::10"),
        web,
    )
    assert of_endpoint(replace(endpoint, ipv6=None)).addresses == ("10.0.0.10",)
    assert label_texts({}) == ()


def test_what_is_told_of_a_policy() -> None:
    def peers(value: str) -> PeerSet:
        return PeerSet(frozenset({Selector((Requirement("any:a", Operator.IN, (value,)),))}))

    origin = Origin("CiliumNetworkPolicy", "ns", "p", "spec.ingress[0]")
    ports = frozenset({PortRange(Protocol.TCP, 80, 90), PortRange(Protocol.UDP, name="dns")})
    known = Rule(Direction.INGRESS, False, peers("x"), ports, None, origin)
    anyone = Rule(Direction.EGRESS, True, None, frozenset(), None, origin)
    unknown = replace(known, peers=peers("y"))
    fact = of_policy(3, 9, [known, anyone, unknown], {Use(peers("x"), Role.ALLOW): 130})
    assert fact.key == (3, 9)
    assert fact.rules == (
        RuleFact(1, False, ((6, 80, 90), (17, 0, 65535)), ((2, 0b100),), origin),
        RuleFact(2, True, (), None, origin),
    )
