# SPDX-License-Identifier: Apache-2.0
"""Times as upstream's CLI writes and reads them: Go's layouts by name, and durations. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from cilium_core.errors import FieldError

_NANO = 1_000_000_000
_FIRST, _LAST = -62135596800, 253402300799  # years 1 and 9999
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": _NANO, "m": 60 * _NANO}
_UNITS["h"] = 3600 * _NANO
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def _stamp(moment: datetime, nanos: int) -> str:
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}.{nanos // 10**6:03d}"


def _rfc3339(digits: int) -> Callable[[datetime, int], str]:
    def text(moment: datetime, nanos: int) -> str:
        fraction = f"{nanos:09d}"[:digits].rstrip("0")
        return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"

    return text


FORMATS: dict[str, Callable[[datetime, int], str]] = {
    "StampMilli": _stamp,
    "YearMonthDay": lambda moment, _nanos: f"{moment:%Y-%m-%d}",
    "YearMonthDayHour": lambda moment, _nanos: f"{moment:%Y-%m-%dT%H}Z",
    "YearMonthDayHourMinute": lambda moment, _nanos: f"{moment:%Y-%m-%dT%H:%M}Z",
    "RFC3339": _rfc3339(0),
    "RFC3339Milli": _rfc3339(3),
    "RFC3339Micro": _rfc3339(6),
    "RFC3339Nano": _rfc3339(9),
    "RFC1123Z": lambda moment, _nanos: f"{moment:%a, %d %b %Y %H:%M:%S} +0000",
}

# Read besides what `fromisoformat` takes: times without minutes or without a year.
_READ = ("%Y-%m-%dT%H%z", "%a, %d %b %Y %H:%M:%S %z")


def show(time: Timestamp, name: str) -> str:
    """Return a time in UTC in one of FORMATS; `N/A` for one that is no time."""
    if not (_FIRST <= time.seconds <= _LAST and 0 <= time.nanos < _NANO):
        return "N/A"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time.seconds)
    return FORMATS[name](moment, time.nanos)


def read(text: str, now: int, flag: str) -> int:
    """Return the time in ns since the epoch that a text means: `5m` ago, or a date. FieldError."""
    ago = duration(text)
    if ago is not None:
        return now - ago
    moment = _date(text.strip(), datetime.fromtimestamp(now / _NANO, UTC).year)
    if moment is None:
        raise FieldError(flag, f"{text!r} is neither a duration (3s, 4m, 1h43m) nor a time")
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * _NANO + since.microseconds * 1000


def _date(text: str, year: int) -> datetime | None:
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        pass
    for layout, candidate in (
        *((one, text) for one in _READ),
        ("%Y %b %d %H:%M:%S.%f", f"{year} {text}"),
    ):
        try:
            return datetime.strptime(candidate, layout)
        except ValueError:
            continue
    return None


def duration(text: str) -> int | None:
    """Return the ns of a duration as Go writes it, such as `1h30m`; None for anything else."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.removeprefix("+"):
        return None
    return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)


def show_duration(seconds: int) -> str:
    """Return whole seconds as Go writes them: `1h2m3s`, `5m0s`, `7s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
