# SPDX-License-Identifier: Apache-2.0
"""Starvation is the union of what each task was late by, against a slow model of it."""

from hypothesis import given
from hypothesis import strategies as st

from e2e.canary.starvation import LEAST_SECONDS, Starvation

# (task, how long after the last event it is due, how late it then runs), in tenths of a second
STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 30)), max_size=30)


def tenths(starvation: Starvation, start: int, end: int) -> int:
    return round(starvation.within(start / 10, end / 10) * 10)


def test_nothing_without_lateness() -> None:
    starvation = Starvation()
    starvation.expect("a", 1.0)
    starvation.ran("a", 1.0 + LEAST_SECONDS / 2)
    assert starvation.within(0.0, 5.0) == 0.0
    assert starvation.worst_ms == 0.0


def test_overlapping_lateness_counts_once() -> None:
    starvation = Starvation()
    for task, due in (("a", 1.0), ("b", 1.5), ("c", 3.5)):
        starvation.expect(task, due)
    starvation.ran("b", 3.0)
    starvation.ran("a", 3.1)
    assert round(starvation.within(0.0, 3.4), 6) == 2.1
    assert round(starvation.within(2.0, 3.05), 6) == 1.05
    assert starvation.worst_ms == 2100.0


def test_an_overdue_task_counts_before_it_runs() -> None:
    starvation = Starvation()
    starvation.expect("a", 1.0)
    assert starvation.within(0.0, 0.9) == 0.0
    assert starvation.within(0.0, 3.0) == 2.0
    assert starvation.within(2.5, 3.0) == 0.5


@given(STEPS, st.integers(0, 400), st.integers(0, 400))
def test_against_the_slow_model(steps: list[tuple[int, int, int]], one: int, other: int) -> None:
    starvation, starved, now = Starvation(), set[int](), 0
    for task, wait, late in steps:
        due = now + wait
        now = max(now, due + late)
        starvation.expect(task, due / 10)
        starvation.ran(task, now / 10)
        starved |= set(range(due, now))
    start, end = sorted((one, other))
    assert tenths(starvation, start, end) == len(starved & set(range(start, end)))
