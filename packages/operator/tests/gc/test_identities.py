# SPDX-License-Identifier: Apache-2.0
"""Marking, unmarking and deletion of identities over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cilium_core.crds.models import ObjectMeta
from cilium_core.identity import HEARTBEAT_MARK
from cilium_operator.gc.identities import Action, Heartbeats, Times, decide, stamp

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = 1800.0
INTERVAL = 900.0


def at(seconds: float) -> Times:
    return Times(seconds, START + timedelta(seconds=seconds))


def identity(mark: str | None = None) -> ObjectMeta:
    return ObjectMeta(name="300", annotations={} if mark is None else {HEARTBEAT_MARK: mark})


def judge(beats: Heartbeats, seconds: float, used: bool = False, mark: str | None = None) -> Action:
    beats.look(["300"], ["300"] if used else [], seconds)
    return decide(identity(mark), used, beats, INTERVAL, at(seconds))


def test_an_unused_identity_is_marked_and_then_deleted() -> None:
    beats = Heartbeats(TIMEOUT)
    assert judge(beats, 0, used=True) is Action.KEEP
    assert judge(beats, 900) is Action.KEEP
    assert judge(beats, 1799) is Action.KEEP
    assert judge(beats, 1800) is Action.MARK
    mark = stamp(at(1800).wall)
    assert judge(beats, 2699, mark=mark) is Action.KEEP
    assert judge(beats, 2700, mark=mark) is Action.DELETE


def test_use_removes_the_mark_and_starts_the_timeout_again() -> None:
    beats = Heartbeats(TIMEOUT)
    judge(beats, 0)
    mark = stamp(at(1800).wall)
    assert judge(beats, 2000, used=True, mark=mark) is Action.UNMARK
    assert judge(beats, 3799) is Action.KEEP
    assert judge(beats, 3800) is Action.MARK


def test_a_new_operator_waits_the_whole_timeout_but_honours_marks() -> None:
    beats = Heartbeats(TIMEOUT)
    assert judge(beats, 100_000) is Action.KEEP
    beats = Heartbeats(TIMEOUT)
    assert judge(beats, 100_000, mark=stamp(at(0).wall)) is Action.DELETE


def test_a_mark_that_is_no_time_is_written_anew() -> None:
    assert judge(Heartbeats(TIMEOUT), 0, mark="yesterday") is Action.MARK
    assert judge(Heartbeats(TIMEOUT), 0, mark="2026-01-01T00:00:00") is Action.MARK
