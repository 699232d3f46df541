# SPDX-License-Identifier: Apache-2.0
"""Where bits go: roles apart, neighbours together, room used again."""

from cilium_core.policy.bits import BitNumbers, Role, Use, place, role_of, use_digest
from cilium_core.policy.numbers import digest
from cilium_core.policy.rules import Operator, PeerSet, Requirement, Selector


def contents(name, count):
    return [digest(f"{name}{n}") for n in range(count)]


def words(numbers):
    return {place(number)[0] for number in numbers}


def test_a_word_holds_one_role():
    numbers = BitNumbers()
    for role in Role:
        found = numbers.acquire(role, contents(role.name, 200))
        assert {role_of(word) for word in words(found)} == {role}
        assert len(set(found)) == 200
        assert len(words(found)) == 4


def test_what_meets_on_a_row_shares_words_however_it_grows():
    numbers = BitNumbers()
    rows = [contents(f"row{n}-", 20) for n in range(20)]
    for size in range(1, 21):
        for row in rows:
            numbers.acquire(Role.ALLOW, row[:size])
    spread = [len(words(numbers.acquire(Role.ALLOW, row))) for row in rows]
    assert max(spread) <= 8  # of the few that were shared at first, and one of its own
    found = contents("many", 200)
    numbers.acquire(Role.ALLOW, found[:100])
    assert len(words(numbers.acquire(Role.ALLOW, found))) <= 4


def test_few_share_words():
    numbers = BitNumbers()
    rows = [numbers.acquire(Role.ALLOW, contents(f"row{n}-", 2)) for n in range(100)]
    assert len(words(sum(rows, []))) <= 4


def test_adopted_bits_are_not_given_to_others():
    numbers = BitNumbers()
    held = {word * 64 + bit: digest(f"{word}.{bit}") for word in (0, 8, 5) for bit in (0, 63)}
    numbers.adopt(held)
    fresh = numbers.acquire(Role.ALLOW, contents("fresh", 150))
    assert not set(fresh) & set(held)
    assert numbers.acquire(Role.DENY, [digest("5.63")]) == [5 * 64 + 63]


def test_a_word_that_became_empty_is_filled_again():
    numbers = BitNumbers()
    for number in numbers.acquire(Role.L7, contents("old", 64)):
        numbers.release(number)
    numbers.sent()
    numbers.applied(0.0)
    numbers.expire(1.0)
    assert words(numbers.acquire(Role.L7, contents("new", 64))) == {Role.L7}


def test_digests_tell_roles_and_selectors_apart_and_do_not_depend_on_order():
    one = Selector((Requirement("k8s:a", Operator.IN, ("x", "y")),))
    two = Selector((Requirement("k8s:a", Operator.NOT_IN, ("x", "y")),))
    three = Selector((Requirement("k8s:a", Operator.IN, ("x,y",)),))
    uses = [Use(PeerSet(frozenset(s)), role) for s in ([one], [two], [three]) for role in Role]
    assert len({use_digest(use) for use in uses}) == len(uses)
    assert use_digest(Use(PeerSet(frozenset([one, two])), Role.ALLOW)) == use_digest(
        Use(PeerSet(frozenset([two, one])), Role.ALLOW)
    )
    # In pinned maps of running nodes: to change it is to renumber everything at an upgrade.
    assert use_digest(uses[0]).hex() == "716189588a0baf7e572eae5b321926e0"
