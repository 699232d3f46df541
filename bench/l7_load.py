# SPDX-License-Identifier: Apache-2.0
"""Loads of requests, by wrk and h2load, and what these print as numbers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

KEPT, TWO, NEW = "HTTP/1.1, kept alive", "HTTP/2", "HTTP/1.1, a connection each"
KINDS = (KEPT, TWO, NEW)
AT_A_TIME = 64  # requests
STREAMS = 8  # of each of HTTP/2's connections at a time
_WRK_ERRORS = re.compile(r"(?:Non-2xx or 3xx responses|Socket errors): (.*)")
_WRK_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_H2LOAD_RATE = re.compile(r"finished in [\d.]+\w+, ([\d.]+) req/s")
_H2LOAD_COUNTS = re.compile(r"(\d+) (failed|errored|timeout)")


class Failed(Exception):
    """Requests did not get the answer that they should."""


def command(kind: str, url: str, seconds: int) -> list[str]:
    """Return the words that run a load for so long."""
    if kind == TWO:
        size = [f"-c{AT_A_TIME // STREAMS}", f"-m{STREAMS}", "-t1"]
        size += [f"-D{seconds}", "--warm-up-time=0"]
        return ["h2load", *size, url]
    more = ["-H", "Connection: close"] if kind == NEW else []
    return ["wrk", "-t1", f"-c{AT_A_TIME}", f"-d{seconds}", "--timeout", "5", *more, url]


def run(prefix: Sequence[str], kind: str, url: str, seconds: int) -> float:
    """Run a load behind these words; return requests/s. Failed when any was not answered well."""
    words = [*prefix, *command(kind, url, seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return h2load_rate(done.stdout) if kind == TWO else wrk_rate(done.stdout)


def wrk_rate(text: str) -> float:
    """Return requests/s of wrk's report; Failed when it names errors."""
    if errors := _WRK_ERRORS.search(text):
        raise Failed(errors.group(0))
    return _rate(_WRK_RATE, text)


def h2load_rate(text: str) -> float:
    """Return requests/s of h2load's report; Failed when requests failed."""
    bad = [f"{count} {what}" for count, what in _H2LOAD_COUNTS.findall(text) if int(count)]
    codes = re.search(r"status codes: (\d+) 2xx, (.*)", text)
    if codes and set(re.findall(r"(\d+) \dxx", codes.group(2))) != {"0"}:
        bad.append(codes.group(0))
    if bad:
        raise Failed(", ".join(bad))
    return _rate(_H2LOAD_RATE, text)


def _rate(pattern: re.Pattern[str], text: str) -> float:
    found = pattern.search(text)
    if found is None or not float(found.group(1)):
        raise Failed(f"no rate in {text!r}")
    return float(found.group(1))
