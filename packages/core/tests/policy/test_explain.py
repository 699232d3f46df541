# SPDX-License-Identifier: Apache-2.0
"""The words for a decision: the rule, the default and whose it is, and what came nearest."""

from cilium_core.policy.explain import explain, nearest
from cilium_core.policy.layout import Layouts
from cilium_core.policy.parts import Part
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import (
    Direction,
    Operator,
    Origin,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)

TCP = Protocol.TCP
WEB = {"k8s:app": "web"}


def origin(name, field="spec"):
    return Origin("CiliumNetworkPolicy", "shop", name, field)


def policy(name, *rules, closed=True):
    denied = frozenset({Direction.INGRESS}) if closed else frozenset()
    made = tuple(
        Rule(
            Direction.INGRESS,
            deny,
            PeerSet(frozenset({Selector((Requirement("k8s:app", Operator.IN, (app,)),))})),
            frozenset({PortRange(TCP, first, last)}),
            None,
            origin(name, f"spec.ingress[{n}]"),
        )
        for n, (app, first, last, deny) in enumerate(rules)
    )
    return Policy(origin(name), Selector(), denied, made)


def words(policies, port, labels=WEB):
    parts = [Part(policy, Direction.INGRESS, {}) for policy in policies]
    side = Side(Direction.INGRESS, parts, Layouts())
    return str(explain(side, TCP, port, labels)), nearest(side, TCP, port, labels)


def test_the_first_rule_that_decides_is_named():
    policies = [policy("a", ("web", 80, 90, False)), policy("b", ("web", 85, 85, True))]
    assert words(policies, 80)[0] == "CiliumNetworkPolicy shop/a spec.ingress[0]"
    assert words(policies, 85)[0] == "CiliumNetworkPolicy shop/b spec.ingress[0]"


def test_default_deny_names_the_policies_that_ask_for_it():
    policies = [policy("a"), policy("b", closed=False), policy("c")]
    assert words(policies, 80)[0] == (
        "default deny by CiliumNetworkPolicy shop/a spec, CiliumNetworkPolicy shop/c spec"
    )


def test_default_allow_says_why():
    assert words([], 80)[0] == "default allow: no policy selects"
    assert words([policy("a", closed=False)], 80)[0].startswith("default allow: no selecting")


def test_the_nearest_rule_has_the_peer_on_other_ports_or_the_port_for_other_peers():
    policies = [policy("a", ("db", 80, 80, False), ("web", 90, 99, False), ("web", 80, 80, True))]
    assert words(policies, 81)[1] == (
        "CiliumNetworkPolicy shop/a spec.ingress[1] allows this peer, but on TCP 90-99"
    )
    assert words(policies, 80, {"k8s:app": "x"})[1] == (
        "CiliumNetworkPolicy shop/a spec.ingress[0] allows this port, but for other peers"
    )
    assert words(policies, 70, None)[1] == ""
