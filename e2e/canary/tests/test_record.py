# SPDX-License-Identifier: Apache-2.0
"""The ledger: every message ends once, and silences are measured beyond the period."""

from hypothesis import given
from hypothesis import strategies as st

from e2e.canary.record import Record


def test_all_answered() -> None:
    record = Record(0.1, 2.0, 0.0)
    for number in range(10):
        record.send(number, number * 0.1)
        record.answer(number, number * 0.1 + 0.001)
    report = record.as_json(0.95)
    assert (report["sent"], report["answered"], report["lost"]) == (10, 10, 0)
    assert report["longest_gap_ms"] <= 1.0


def test_a_hole_is_a_window_with_its_losses() -> None:
    record = Record(0.1, 0.5, 0.0)
    for number in range(30):
        now = number * 0.1
        record.send(number, now)
        if not 10 <= number < 20:
            record.answer(number, now + 0.001)
    report = record.as_json(3.5)
    assert report["lost"] == 10
    assert report["errors"] == {"no answer": 10}
    worst = report["worst"][0]
    assert 999 <= worst["gap_ms"] <= 1001
    assert worst["ago_s"] == 1.499


def test_a_silence_that_still_lasts_counts() -> None:
    record = Record(0.1, None, 0.0)
    record.send(1, 0.1)
    report = record.as_json(5.0)
    assert report["longest_gap_ms"] == 4900.0
    assert (report["waiting"], report["lost"]) == (1, 0)


def test_reset_loses_what_waits() -> None:
    record = Record(0.1, None, 0.0)
    for number in range(3):
        record.send(number, 1.0 + number)
    record.answer(0, 4.0)
    record.reset(4.1, "reset")
    report = record.as_json(4.2)
    assert (report["answered"], report["lost"], report["resets"], report["late"]) == (1, 2, 1, 1)


def test_warm_up_is_not_counted() -> None:
    record = Record(0.1, 1.0, 10.0)
    record.send(1, 5.0)
    record.reset(6.0, "reset")
    record.answer(1, 11.0)
    report = record.as_json(10.0)
    assert (report["sent"], report["answered"], report["lost"], report["resets"]) == (0, 0, 0, 0)


@given(st.lists(st.tuples(st.sampled_from("salre"), st.floats(0.0, 1.0)), max_size=80))
def test_every_message_ends_once(steps: list[tuple[str, float]]) -> None:
    record = Record(0.1, 2.0, 0.0)
    now, number = 0.0, 0
    for action, wait in steps:
        now += wait
        if action == "s":
            number += 1
            record.send(number, now)
        elif action == "a":
            record.answer(number, now)
        elif action == "l":
            record.lose(number, now, "x")
        elif action == "r":
            record.reset(now, "x")
        else:
            record.expire(now)
    report = record.as_json(now)
    assert report["sent"] == report["answered"] + report["lost"] + report["waiting"]
