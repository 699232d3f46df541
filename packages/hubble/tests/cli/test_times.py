# SPDX-License-Identifier: Apache-2.0
"""Times and durations in Go's forms."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.errors import FieldError
from cilium_hubble.cli.printing.times import FORMATS, duration, read, show, show_duration

TIME = Timestamp(seconds=1136214245, nanos=120034000)  # 2006-01-02 15:04:05.120034
NOW = 1_136_300_000 * 10**9


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("StampMilli", "Jan  2 15:04:05.120"),
        ("YearMonthDay", "2006-01-02"),
        ("YearMonthDayHour", "2006-01-02T15Z"),
        ("YearMonthDayHourMinute", "2006-01-02T15:04Z"),
        ("RFC3339", "2006-01-02T15:04:05Z"),
        ("RFC3339Milli", "2006-01-02T15:04:05.12Z"),
        ("RFC3339Micro", "2006-01-02T15:04:05.120034Z"),
        ("RFC3339Nano", "2006-01-02T15:04:05.120034Z"),
        ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 +0000"),
    ],
)
def test_formats(name: str, text: str) -> None:
    assert show(TIME, name) == text
    wanted = {"YearMonthDay": 86400, "YearMonthDayHour": 3600, "YearMonthDayHourMinute": 60}
    step = wanted.get(name, 1) * 10**9
    precise = {"StampMilli": 10**6, "RFC3339Milli": 10**6, "RFC3339Micro": 1000, "RFC3339Nano": 1}
    step = precise.get(name, step)
    nanos = TIME.ToNanoseconds()
    assert read(text, NOW, "--since") == nanos // step * step


def test_no_time() -> None:
    assert show(Timestamp(), "StampMilli") == "Jan  1 00:00:00.000"
    assert show(Timestamp(seconds=-1, nanos=-1), "StampMilli") == "N/A"
    assert show(Timestamp(seconds=1 << 60), "RFC3339") == "N/A"
    assert set(FORMATS) == {
        *("StampMilli", "YearMonthDay", "YearMonthDayHour", "YearMonthDayHourMinute"),
        *("RFC3339", "RFC3339Milli", "RFC3339Micro", "RFC3339Nano", "RFC1123Z"),
    }


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("3s", 3 * 10**9),
        ("1h43m", 6180 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("250ms", 250 * 10**6),
        ("1m0.5s", 60_500_000_000),
        ("10us", 10_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, nanos: int) -> None:
    assert duration(text) == nanos
    assert read(text, NOW, "--since") == NOW - nanos


@pytest.mark.parametrize("text", ["", "s", "5", "5x", "yesterday", "2006-13-02", "1h 2m", "-5m"])
def test_what_is_no_time(text: str) -> None:
    assert duration(text) is None
    with pytest.raises(FieldError, match="--since: .* is neither a duration"):
        read(text, NOW, "--since")


def test_zones_and_years() -> None:
    assert read("2006-01-02T15:04:05+02:00", NOW, "x") == 1136207045 * 10**9
    assert read("2006-01-02T15:04:05.123456789Z", NOW, "x") == 1136214245123456 * 1000
    assert read("Jan  2 15:04:05.120", NOW, "x") == 1136214245120 * 10**6


@given(st.integers(0, 10**6))
def test_durations_are_written_as_they_are_read(seconds: int) -> None:
    assert duration(show_duration(seconds)) == seconds * 10**9
