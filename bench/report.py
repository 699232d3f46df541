# SPDX-License-Identifier: Apache-2.0
"""What a suite measured, judged and written: one JSON file and one table a suite.

A missed target is printed as missed, with by how much, and the file holds the raw samples.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.statistics import mad, paired_ratio

RESULTS = Path(__file__).parent / "results"
SLACK = 0.03  # a wall-clock ratio is met when its interval reaches within 3 % of the target


@dataclass
class Result:
    """One figure. `target` is a bound on `value` in the sense of `better`; None: published only."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"
    met: bool | None = None
    baseline: str = ""
    spread: float = 0.0
    samples: list[float] = field(default_factory=list)
    baseline_samples: list[float] = field(default_factory=list)
    note: str = ""


def ratio(
    name: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    baseline_name: str,
    target: float,
    note: str = "",
) -> Result:
    """Judge paired rounds of two rates as a ratio that should be at least `target`."""
    interval = paired_ratio(ours, baseline)
    return Result(
        name=name,
        value=round(interval.middle, 4),
        unit="ratio",
        target=target,
        met=interval.middle >= target or interval.high >= target and interval.low >= target - SLACK,
        baseline=baseline_name,
        spread=round(interval.high - interval.low, 4),
        samples=list(ours),
        baseline_samples=list(baseline),
        note=note,
    )


def bound(
    name: str,
    samples: Sequence[float],
    unit: str,
    at_most: float | None = None,
    note: str = "",
) -> Result:
    """Judge the median of samples against an upper bound, or publish it when there is none."""
    value = median(samples)
    return Result(
        name=name,
        value=round(value, 4),
        unit=unit,
        target=at_most,
        better="lower",
        met=None if at_most is None else value <= at_most,
        spread=round(mad(samples), 4),
        samples=list(samples),
        note=note,
    )


def machine() -> dict[str, Any]:
    """Return what a reader needs to place the figures."""
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "loadavg": list(os.getloadavg()),
    }


def publish(suite: str, results: Sequence[Result]) -> Path:
    """Write `bench/results/<suite>.json`, print the table, return the file's path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{suite}.json"
    body = {"machine": machine(), "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(body, indent=1) + "\n")
    table = Table(title=f"{suite} ({platform.release()}, {os.cpu_count()} CPUs)")
    for heading in ("figure", "value", "spread", "target", "verdict", "against"):
        table.add_column(heading, overflow="fold")
    for result in results:
        table.add_row(
            result.name,
            f"{result.value:g} {result.unit}",
            f"{result.spread:g}",
            _target(result),
            _verdict(result),
            result.baseline or result.note,
        )
    Console(width=110).print(table)
    return path


def _target(result: Result) -> str:
    if result.target is None:
        return "-"
    return f"{'≥' if result.better == 'higher' else '≤'} {result.target:g}"


def _verdict(result: Result) -> str:
    if result.met is None or result.target is None:
        return "published"
    if result.met:
        return "met"
    return f"MISSED by {abs(result.value - result.target) / result.target:.0%}"


def rate(name: str, samples: list[float], target: float | None, note: str) -> Result:
    """Return a result of so many a second: the middle of the samples, which must reach `target`."""
    value = median(samples)
    return Result(
        name=name,
        value=round(value),
        unit="1/s",
        target=target,
        met=None if target is None else value >= target,
        spread=round(mad(samples)),
        samples=samples,
        note=note,
    )
