# SPDX-License-Identifier: Apache-2.0
"""The ledger: every message ends once; silences count beyond the period and the sender's own."""

from hypothesis import given
from hypothesis import strategies as st

from e2e.canary.record import Record
from e2e.canary.starvation import Starvation


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
    assert worst["starved_ms"] == 0.0


def test_starvation_excuses_only_the_silence_that_it_lies_in() -> None:
    """One hiccup of the sender must not hide an outage before or after it."""
    starvation = Starvation()
    record = Record(0.1, 2.0, 0.0, starvation)
    for number, (sent, answered) in enumerate([(0.1, 0.1), (1.7, 1.7), (1.8, 1.8), (2.7, 2.7)]):
        if number == 1:  # 1.5 s without CPU, and no loss
            starvation.expect("a", 0.2)
            starvation.ran("a", sent)
        record.send(number, sent)
        record.answer(number, answered)
    worst = record.as_json(2.7)["worst"]
    assert [(w["gap_ms"], w["starved_ms"]) for w in worst] == [(800.0, 0.0)]


def test_an_answer_that_waited_for_the_sender_is_not_lost() -> None:
    starvation = Starvation()
    record = Record(0.5, 2.0, 0.0, starvation)
    record.send(1, 1.0)
    starvation.expect("a", 1.1)  # and has not run when the answer is read, 3 s later
    record.answer(1, 4.1)
    starvation.ran("a", 4.1)
    record.send(2, 4.1)
    report = record.as_json(4.1)
    assert (report["answered"], report["lost"], report["late"]) == (1, 0, 0)
    record.answer(2, 6.2)  # nobody starved, so this one is over its deadline
    assert record.as_json(6.2)["lost"] == 1


def test_a_try_that_sent_again_is_late() -> None:
    record = Record(0.5, 2.0, 0.0)
    record.send(1, 1.0)
    record.answer(1, 2.02)
    assert record.as_json(2.02)["late"] == 1


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
