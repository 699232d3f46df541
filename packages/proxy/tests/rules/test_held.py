# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from proxy_fakes import gone, rule_set

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.rules.held import Held

PORTS = st.integers(10001, 10004)
REVISIONS = st.integers(1, 3)


def whole(*sets: pb.RuleSet) -> pb.Update:
    return pb.Update(snapshot=True, complete=True, rule_sets=sets)


def test_a_snapshot_in_pieces_counts_when_it_is_complete():
    held = Held()
    assert held.fold(pb.Update(snapshot=True, rule_sets=[rule_set(10001)])) is None
    assert not held.known
    change = held.fold(whole(rule_set(10002)))
    assert [entry.port for entry in change.changed] == [10001, 10002]
    assert held.known


def test_half_a_snapshot_removes_nothing_and_is_forgotten():
    held = Held([rule_set(10001), rule_set(10002)])
    held.fold(pb.Update(snapshot=True, rule_sets=[rule_set(10003)]))
    held.begin()
    assert not held.fold(whole(rule_set(10001), rule_set(10002)))
    assert set(held.sets) == {10001, 10002}


def test_a_snapshot_removes_what_it_lacks():
    held = Held([rule_set(10001), rule_set(10002)])
    change = held.fold(whole(rule_set(10002)))
    assert [entry.port for entry in change.removed] == [10001]
    assert change.changed == ()


def test_the_same_set_again_is_no_change_and_a_newer_one_is():
    held = Held([rule_set(10001)])
    assert not held.fold(pb.Update(rule_sets=[rule_set(10001)]))
    assert held.fold(pb.Update(rule_sets=[rule_set(10001, 2)])).changed == (rule_set(10001, 2),)


def test_removal_of_what_is_not_held_is_no_change():
    assert not Held([]).fold(pb.Update(rule_sets=[gone(10001)]))


updates = st.builds(
    lambda snapshot, sets: pb.Update(snapshot=snapshot, complete=snapshot, rule_sets=sets),
    st.booleans(),
    st.lists(st.builds(rule_set, PORTS, REVISIONS) | st.builds(gone, PORTS), max_size=6),
)


@given(st.lists(updates, max_size=6))
def test_who_applies_the_changes_holds_the_same(sequence):
    held, mirror, truth = Held(), {}, {}
    for update in sequence:
        truth = {} if update.snapshot else truth
        for entry in update.rule_sets:
            truth.pop(entry.port, None)
            if not entry.removed:
                truth[entry.port] = entry
        change = held.fold(update)
        assert not {e.port for e in change.changed} & {e.port for e in change.removed}
        for entry in change.removed:
            del mirror[entry.port]
        mirror.update({entry.port: entry for entry in change.changed})
        assert mirror == dict(held.sets) == truth
