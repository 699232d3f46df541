# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from proxy_fakes import gone, rule_set

from cilium_proxy import known
from cilium_proxy.known import Known
from cilium_proxy.rules.held import Change


def test_a_rule_set_that_went_is_still_known_for_a_while(monkeypatch):
    monkeypatch.setattr(known, "MOST_GONE", 2)
    made = Known()
    sets = [rule_set(port) for port in (1, 2, 3, 4)]
    made.note(Change(tuple(sets)))
    made.note(Change((), tuple(gone(port) for port in (1, 2, 3))))
    assert [made.find(port) for port in (1, 2, 3, 4, 5)] == [None, *sets[1:], None]


def test_a_new_rule_set_takes_the_place_of_one_that_went():
    made = Known()
    made.note(Change((rule_set(1),)))
    made.note(Change((), (gone(1),)))
    made.note(Change((rule_set(1, 2),)))
    assert made.find(1) == rule_set(1, 2)
