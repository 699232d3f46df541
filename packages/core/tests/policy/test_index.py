# SPDX-License-Identifier: Apache-2.0
"""Both indexes against `Selector.matches`, while items and selectors come and go."""

from hypothesis import given

from cilium_core.policy.index import LabelIndex, SelectorIndex, positions

from .generate import CASES, labels, selector


@given(CASES)
def test_indexes_equal_matching_one_by_one(rng):
    by_label, by_selector = LabelIndex(), SelectorIndex()
    items, selectors = {}, {}
    for _ in range(30):
        number = rng.randrange(8)
        if number in items:
            by_label.remove(number, items.pop(number))
        else:
            items[number] = labels(rng)
            by_label.add(number, items[number])
        handle = rng.randrange(8)
        if handle in selectors:
            by_selector.remove(handle, selectors.pop(handle))
        else:
            selectors[handle] = selector(rng)
            by_selector.add(handle, selectors[handle])
    for handle, found in selectors.items():
        wanted = [item for item in sorted(items) if found.matches(items[item])]
        assert list(positions(by_label.select(found))) == wanted, handle
    for found in items.values():
        wanted = {handle for handle, s in selectors.items() if s.matches(found)}
        assert by_selector.match(found) == wanted
    for number, found in items.items():
        by_label.remove(number, found)
    for handle, found in selectors.items():
        by_selector.remove(handle, found)
    assert vars(by_label) == vars(LabelIndex())
    assert vars(by_selector) == vars(SelectorIndex())


def test_a_new_item_is_compared_only_with_selectors_that_share_a_label():
    class Counted:
        def __init__(self, found):
            self.requirements, self.asked = found.requirements, 0
            self.matches_one = found.matches

        def matches(self, one):
            self.asked += 1
            return self.matches_one(one)

    from cilium_core.policy.rules import Operator, Requirement, Selector

    index = SelectorIndex()
    counted = []
    for n in range(1000):
        found = Selector(
            (
                Requirement("k8s:app", Operator.IN, (f"app{n}",)),
                Requirement("k8s:ns", Operator.IN, ("x",)),
            )
        )
        counted.append(Counted(found))
        index.add(n, counted[-1])
    assert index.match({"k8s:app": "app7", "k8s:ns": "x"}) == {7}
    assert sum(one.asked for one in counted) <= 3


def test_positions_are_those_of_the_bits():
    assert list(positions(0)) == []
    assert list(positions(1 << 70 | 0b1011)) == [0, 1, 3, 70]
