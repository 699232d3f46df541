# SPDX-License-Identifier: Apache-2.0
"""Rule sets against the slow model, their names, and their ports over restarts."""

import pytest
from hypothesis import given

from cilium_core.policy.decide import Verdict, decide
from cilium_core.policy.engine import Engine
from cilium_core.policy.redirects import ANYBODY, RuleSet
from cilium_core.policy.rules import (
    Direction,
    L7Kind,
    L7Rules,
    Origin,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)
from cilium_core.policy.rulesets import BLOCK_PORTS, NoPortLeft, RuleSetPorts

from .generate import CASES, Cluster, examples, packets
from .model import rule_set

ORIGIN = Origin("CiliumNetworkPolicy", "x", "p", "spec.ingress[0]")


def found_for(table, key, identity):
    return table.get((key, identity)) or table.get((key, ANYBODY))


def check(engine, cluster, table):
    """Compare what every packet that is led anywhere meets with the model."""
    for key, (labels, ports) in cluster.subjects.items():
        subject = (labels, ports, key == "node")
        number = engine.policy_number(key)
        for direction, protocol, port in packets():
            for identity in (*cluster.identities, 9999):
                decision = decide(engine.tables, number, direction, protocol, port, identity)
                if decision.verdict is not Verdict.L7:
                    continue
                peer = cluster.identities.get(identity)
                wanted = rule_set(cluster.all_policies, subject, direction, protocol, port, peer)
                found = found_for(table, decision.key, identity)
                assert (set(found.rules), found.everything) == wanted, (key, decision)
                assert found.direction is direction


@given(CASES)
@examples(0.6)
def test_every_packet_meets_the_rules_that_the_model_says(rng):
    cluster, engine = Cluster.random(rng), Engine()
    cluster.tell(engine, rng)
    engine.take(0.0)
    check(engine, cluster, engine.redirects.table)


@given(CASES)
@examples(0.6)
def test_changes_lead_from_one_table_to_the_next(rng):
    engine, cluster, table, revision = Engine(), Cluster.random(rng), {}, 0
    cluster.tell(engine, rng)
    for _ in range(6):
        changes = engine.take(0.0)
        for at, found in changes.redirects.items():
            assert table.get(at) != found
            table[at] = found
            if found is None:
                del table[at]
        assert table == engine.redirects.table
        assert {key for key, _ in table} <= engine.tables.rows.keys()
        assert changes.revision > revision if changes.redirects else True
        revision = changes.revision
        check(engine, cluster, table)
        for _ in range(rng.randint(1, 3)):
            cluster.change(rng, engine)
        engine.settle()


def l7_rule(path="/a", field="spec.ingress[0]", port=80, kind=L7Kind.HTTP, peers=None):
    return Rule(
        direction=Direction.INGRESS,
        deny=False,
        peers=peers,
        ports=frozenset({PortRange(Protocol.TCP, port, port)}),
        l7=L7Rules(kind, frozenset({(("path", path),)})),
        origin=Origin("CiliumNetworkPolicy", "x", "p", field),
    )


def sets_of(*rules):
    """Return the rule sets of one endpoint under these rules, by (first port, identity)."""
    engine = Engine()
    engine.set_identity(300, {"k8s:app": "web"})
    engine.set_identity(301, {"k8s:app": "db"})
    engine.set_policies("p", [Policy(ORIGIN, Selector(), frozenset(Direction), rules)])
    engine.set_subject("one", {})
    engine.take(0.0)
    return {(key.port, identity): s for (key, identity), s in engine.redirects.table.items()}


def test_an_edit_keeps_the_name_and_another_place_has_its_own():
    (a,), (b,), (c,) = (
        set(sets_of(rule).values()) for rule in (l7_rule(), l7_rule("/b"), l7_rule(port=81))
    )
    assert a != b
    assert a.digest == b.digest
    assert a.digest != c.digest
    assert (a.kind, a.everything) == (L7Kind.HTTP, False)


def test_rules_of_neighbouring_ports_are_not_taken_for_one():
    sets = sets_of(l7_rule(port=80), l7_rule("/b", port=81, field="spec.ingress[1]"))
    assert {len(found.rules) for found in sets.values()} == {1}
    assert sets[80, ANYBODY] != sets[81, ANYBODY]


def test_a_plain_rule_beside_makes_them_visible_only_for_its_peers():
    web = PeerSet(frozenset({Selector((Requirement("k8s:app", "In", ("web",)),))}))
    plain = Rule(Direction.INGRESS, False, web, frozenset(), None, ORIGIN)
    sets = sets_of(l7_rule(), plain)
    assert {at: found.everything for at, found in sets.items()} == {
        (80, ANYBODY): False,
        (80, 300): True,
    }


def test_several_kinds_are_nobody_s():
    (found,) = set(sets_of(l7_rule(), l7_rule(kind=L7Kind.KAFKA, field="y")).values())
    assert found.kind is None


def test_a_new_identity_and_one_that_goes():
    web = PeerSet(frozenset({Selector((Requirement("k8s:app", "In", ("web",)),))}))
    engine = Engine()
    engine.set_policies("p", [Policy(ORIGIN, Selector(), frozenset(), (l7_rule(peers=web),))])
    engine.set_subject("one", {})
    assert not engine.take(0.0).redirects
    engine.set_identity(300, {"k8s:app": "web"})
    ((at, found),) = engine.take(0.0).redirects.items()
    assert at[1] == 300
    assert isinstance(found, RuleSet)
    engine.remove_identity(300)
    assert engine.take(0.0).redirects == {at: None}


def test_ports_are_found_again_after_a_restart():
    first, second = RuleSetPorts(), RuleSetPorts()
    ports = [first.acquire(bytes([n])) for n in range(3)]
    assert ports == list(BLOCK_PORTS[:3])
    second.adopt(first.records())
    assert second.acquire(bytes([2])) == ports[2]
    assert second.acquire(b"new") == BLOCK_PORTS[3]


def test_no_port_left():
    ports = RuleSetPorts()
    for number in range(len(BLOCK_PORTS)):
        ports.acquire(number.to_bytes(2, "big"))
    ports.release(10_100)
    ports.sent()
    ports.applied(1.0)
    ports.expire(2.0)
    assert ports.acquire(b"new") == 10_100
    with pytest.raises(NoPortLeft, match="5000"):
        ports.acquire(b"more")
