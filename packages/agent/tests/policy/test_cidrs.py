# SPDX-License-Identifier: Apache-2.0
"""Numbers of prefixes: kept, never given twice, and relabelled in place."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.policy.cidrs import FIRST, CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_core.policy.language import CIDRGroup

NETS = [ip_network(f"192.0.2.{n}/32") for n in range(6)]


@given(st.lists(st.sets(st.sampled_from(NETS)), max_size=12))
def test_a_number_means_one_prefix_for_ever(rounds: list[set]) -> None:
    identities = CidrIdentities(PrefixLabels(dual_stack=False))
    meant: dict[int, object] = {}
    for wanted in rounds:
        before = dict(identities.numbers)
        change = identities.update(wanted)
        assert set(identities.numbers) == wanted
        assert set(change.gone) == set(before) - wanted
        for prefix, number in identities.numbers.items():
            assert meant.setdefault(number, prefix) == prefix
            assert before.get(prefix, number) == number
            assert number in identities.labels


def test_adopted_numbers_stay_and_new_ones_come_after_them() -> None:
    identities = CidrIdentities(PrefixLabels(dual_stack=False))
    identities.adopt({NETS[0]: FIRST + 41})
    change = identities.update({NETS[0], NETS[1]})
    assert identities.numbers == {NETS[0]: FIRST + 41, NETS[1]: FIRST + 42}
    assert set(change.set) == {FIRST + 41, FIRST + 42}
    assert identities.update({NETS[0], NETS[1]}).set == {}


def test_a_groups_labels_reach_all_that_its_prefixes_cover() -> None:
    labels = PrefixLabels(dual_stack=False)
    identities = CidrIdentities(labels)
    inside, outside = ip_network("10.1.0.0/16"), ip_network("192.0.2.0/24")
    identities.update({inside, outside})
    group = CIDRGroup("g", {"cidrgroup:g": ""}, frozenset({ip_network("10.0.0.0/8")}))
    labels.set_group("g", group)
    change = identities.update({inside, outside})
    assert list(change.set) == [identities.numbers[inside]]
    assert "cidrgroup:g" in change.set[identities.numbers[inside]]


def test_a_number_that_several_prefixes_have_is_nobodys_and_never_given_again() -> None:
    made = CidrIdentities(lambda _prefix: {})
    nets = [ip_network(text) for text in ("192.0.2.1/32", "192.0.2.2/32", "10.0.0.0/8")]
    made.adopt({nets[0]: FIRST + 4, nets[1]: FIRST + 4, nets[2]: FIRST + 1})
    assert made.numbers == {nets[2]: FIRST + 1}
    made.reserve([FIRST + 9])
    assert made.draw() == FIRST + 10
