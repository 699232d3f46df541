# SPDX-License-Identifier: Apache-2.0
"""The engine against the slow model, and incremental against from scratch."""

import pytest
from hypothesis import given

from cilium_core.policy.decide import decide
from cilium_core.policy.engine import Engine
from cilium_core.policy.rules import Direction

from .generate import CASES, SUBJECTS, Cluster, examples, packets
from .model import verdict


def check(engine, cluster):
    """Compare every packet of every subject with the model, in the tables and explained."""
    engine.take(0.0)
    for key, (labels, ports) in cluster.subjects.items():
        subject = (labels, ports, key == "node")
        number = engine.policy_number(key)
        for direction, protocol, port in packets():
            for identity in (*cluster.identities, 9999):
                peer = cluster.identities.get(identity)
                everybody = () if peer else cluster.identities.values()
                about = (subject, direction, protocol, port, peer, everybody)
                wanted = verdict(cluster.all_policies, *about)
                packet = (direction, protocol, port, identity)
                assert decide(engine.tables, number, *packet).verdict == wanted, (key, packet)
                assert engine.explain(key, *packet).verdict == wanted, (key, packet)


@given(CASES)
@examples(0.6)
def test_engine_equals_the_model(rng):
    cluster, engine = Cluster.random(rng), Engine()
    cluster.tell(engine, rng)
    check(engine, cluster)


def meaning(engine):
    """Return the tables with what numbers stand for in the place of numbers."""
    uses = {number: use for use, number in engine.uses().items()}

    def named(word, mask):
        return frozenset(uses[word * 64 + bit] for bit in range(64) if mask >> bit & 1)

    rows = {}
    names = {number: key for key in SUBJECTS if (number := number_of(engine, key))}
    for key, row in engine.tables.rows.items():
        cells = [named(c.word, c.allow | c.deny | c.l7) for c in row.cells]
        rows[key._replace(policy=names[key.policy])] = (row[:3], frozenset().union(*cells))
    members = {}
    for (identity, word), mask in engine.tables.bits.items():
        for use in named(word, mask):
            members.setdefault(use, set()).add(identity)
    return rows, members


def number_of(engine, key):
    try:
        return engine.policy_number(key)
    except KeyError:
        return 0


@given(CASES)
@examples(0.6)
def test_incremental_equals_from_scratch(rng):
    engine, cluster = Engine(), Cluster.random(rng)
    cluster.tell(engine)
    for now in range(rng.randint(1, 8)):
        for _ in range(rng.randint(1, 4)):
            cluster.change(rng, engine)
        engine.settle()
        engine.take(now * 0.7)
        engine.applied(now * 0.7)
    fresh = Engine()
    cluster.tell(fresh, rng)
    fresh.take(0.0)
    assert meaning(engine) == meaning(fresh)
    check(engine, cluster)


@given(CASES)
@examples(0.6)
def test_changes_lead_from_one_state_to_the_next(rng):
    engine, cluster = Engine(), Cluster()
    rows, bits, revision = {}, {}, 0
    for _ in range(10):
        for _ in range(rng.randint(0, 3)):
            cluster.change(rng, engine)
        engine.settle()
        changes = engine.take(0.0)
        for held, wanted in ((rows, changes.rows), (bits, changes.bits)):
            for key, value in wanted.items():
                assert held.get(key) != value
                held[key] = value
                if value is None:
                    del held[key]
        assert changes.revision > revision if changes.rows else changes.revision >= revision
        revision = changes.revision
        assert (rows, bits) == (engine.tables.rows, engine.tables.bits)
        assert all(bits.values())


@given(CASES)
@examples(0.4)
def test_a_new_process_that_adopts_has_nothing_to_write(rng):
    cluster, first, second = Cluster.random(rng), Engine(), Engine()
    cluster.tell(first, rng)
    records = first.take(0.0)
    second.adopt(records.bit_records, records.policy_records, records.revision)
    cluster.tell(second, rng)
    second.adopted_all()
    changes = second.take(1.0)
    assert second.tables == first.tables
    assert not changes.bit_records
    assert not changes.policy_records
    assert changes.revision >= records.revision


def test_every_direction_of_every_subject_has_its_shortest_row():
    engine = Engine()
    engine.set_subject("one", {})
    engine.take(0.0)
    assert {(key.direction, key[2:]) for key in engine.tables.rows} == {
        (direction, (0, 0, 0)) for direction in Direction
    }
    assert all(row.any_allow for row in engine.tables.rows.values())


def test_rows_of_a_subject_stay_until_the_kernel_points_elsewhere():
    engine = Engine()
    old = engine.set_subject("one", {"k8s:app": "a"})
    new = engine.set_subject("one", {"k8s:app": "b"})
    engine.take(0.0)
    assert old != new
    assert {key.policy for key in engine.tables.rows} == {old, new}
    engine.settle()
    assert {key.policy for key in engine.take(0.0).rows} == {old}
    assert {key.policy for key in engine.tables.rows} == {new}
    with pytest.raises(KeyError):
        engine.policy_number("two")


def test_subjects_that_are_alike_share_their_rows():
    engine = Engine()
    one = engine.set_subject("one", {"k8s:app": "a"})
    assert engine.set_subject("two", {"k8s:app": "a"}) == one
    assert engine.set_subject("node", {"k8s:app": "a"}, on_node=True) != one
    assert engine.set_subject("ports", {"k8s:app": "a"}, {"http": frozenset({(6, 80)})}) != one
