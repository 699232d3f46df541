# SPDX-License-Identifier: Apache-2.0
"""A number keeps its meaning until no packet can have read it under the old one."""

import pytest

from cilium_core.policy.numbers import PolicyNumbers, digest

A, B, C = digest("a"), digest("b"), digest("c")


def test_equal_contents_have_equal_numbers_and_zero_is_none():
    numbers = PolicyNumbers()
    assert [numbers.acquire(c) for c in (A, B, A)] == [1, 2, 1]
    assert numbers.take_changes() == {1: A, 2: B} == numbers.records()
    assert numbers.take_changes() == {}


def test_a_released_number_waits_until_it_left_the_kernel_and_a_second_more():
    numbers = PolicyNumbers()
    numbers.release(numbers.acquire(A))
    numbers.expire(100.0)
    numbers.sent()
    numbers.expire(200.0)
    assert numbers.acquire(B) == 2
    numbers.applied(300.0)
    numbers.expire(300.9)
    assert numbers.acquire(C) == 3
    numbers.take_changes()
    numbers.expire(301.0)
    assert numbers.take_changes() == {1: None}
    assert numbers.acquire(digest("d")) == 1


@pytest.mark.parametrize("stage", ["leaving", "sent", "quarantine"])
def test_a_content_that_comes_back_has_its_number_again_and_keeps_it(stage):
    numbers = PolicyNumbers()
    numbers.release(numbers.acquire(A))
    if stage != "leaving":
        numbers.sent()
    if stage == "quarantine":
        numbers.applied(1.0)
    assert numbers.acquire(A) == 1
    numbers.sent()
    numbers.applied(2.0)
    numbers.expire(9.0)
    assert numbers.records() == {1: A}


def test_a_batch_that_failed_quarantines_nothing():
    numbers = PolicyNumbers()
    numbers.release(numbers.acquire(A))
    numbers.sent()
    numbers.failed()
    numbers.applied(1.0)
    numbers.expire(9.0)
    assert numbers.records() == {1: A}


def test_adopted_numbers_mean_the_same_and_go_when_unused():
    numbers = PolicyNumbers()
    numbers.adopt({5: A, 2: B})
    assert [numbers.acquire(c) for c in (A, C)] == [5, 1]
    numbers.release_adopted()
    numbers.sent()
    numbers.applied(1.0)
    numbers.expire(2.0)
    assert numbers.records() == {5: A, 1: C}
    with pytest.raises(ValueError, match="before any"):
        numbers.adopt({})
