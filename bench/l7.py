# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=l7`: what a rule set costs requests, and a change of rules the controller.

Requests of one pod to another go through the kernel's own redirect to Envoys of one worker: ours as
the controller has it, records on and pushed to the real hubble; stock with one route that takes
all. Both have CPU 0; wrk or h2load, the server, the controller and hubble share CPU 1, which is as
many as there are. 64 requests are under way at a time. Rounds take turns, and so does the order of
paths within them; the next run begins when the records of the one before are dealt with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import l7_load, l7_xds
from bench.datapath_node import POD_V4
from bench.l7_load import KEPT, KINDS
from bench.l7_node import (
    MANY,
    ONE,
    PATH,
    REST,
    ROUTES,
    SERVER_PORT,
    STOCK,
    TCP,
    UNRECORDED,
    Node,
    l7_node,
)
from bench.report import Result, bound, publish, rate, ratio

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "10"))
ASIDE_ROUNDS = 3  # of what is only published
SECONDS = 1
TARGET, FLAT = 0.90, 0.90
NAMES = {
    0: "no proxy",
    TCP: "stock Envoy, TCP proxy",
    STOCK: "stock Envoy, one route",
    UNRECORDED: "ours, 1 exact route, records off",
    ONE: "ours, 1 exact route",
    MANY: f"ours, {ROUTES} exact routes",
}
JUDGED = (STOCK, ONE, MANY)


@dataclass
class Cost:
    """CPU µs of a request in each process, and what became of its records, over all rounds."""

    requests: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    lost: float = 0.0

    def add(self, requests: float, spent: Mapping[str, float], lost: float) -> None:
        """Count one run."""
        self.requests += requests
        self.lost += lost
        for name, seconds in spent.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def micros(self, name: str) -> float:
        """Return CPU µs of a request in a process."""
        return self.seconds[name] / self.requests * 1e6


@dataclass
class Sheet:
    """All that was measured: rates and costs by kind of load and path."""

    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    costs: dict[tuple[str, int], Cost] = field(default_factory=dict)

    def results(self) -> list[Result]:
        """Return the figures, judged where there is a target."""
        found = []
        for kind in KINDS:
            found += self._judged(kind)
            for path in NAMES:
                if path in JUDGED or (kind, path) not in self.rates:
                    continue
                name = f"{kind}: {NAMES[path]}"
                found.append(rate(name, self.rates[kind, path], None, "published beside"))
        return found + self._costs()

    def _judged(self, kind: str) -> list[Result]:
        ours, many, stock = (self.rates[kind, path] for path in (ONE, MANY, STOCK))
        name = f"{kind}: {NAMES[ONE]}"
        note = f"{_middle(ours):.4g}/s against {_middle(stock):.4g}/s"
        flat = f"{kind}: {ROUTES} exact routes against 1"
        return [
            ratio(name, ours, stock, NAMES[STOCK], TARGET, note),
            ratio(flat, many, ours, NAMES[ONE], FLAT, f"{_middle(many):.4g}/s"),
        ]

    def _costs(self) -> list[Result]:
        found = []
        for kind in KINDS:
            ours, stock = self.costs[kind, ONE], self.costs[kind, STOCK]
            parts = {
                "Envoy, stock": stock.micros("stock"),
                "Envoy, ours with records": ours.micros("envoy"),
                "controller": ours.micros("controller"),
                "hubble": ours.micros("hubble"),
            }
            for name, value in parts.items():
                found.append(bound(f"{kind}: CPU of a request, {name}", [value], "µs"))
            share = ours.lost / (2 * ours.requests)
            note = f"{ours.lost:.0f} of {2 * ours.requests:.0f}, counted by who lost them"
            found.append(bound(f"{kind}: records lost", [share], "share", None, note))
        return found


def _middle(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2]


def run() -> None:
    """Measure everything and publish it."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(REST)})
    try:
        with tempfile.TemporaryDirectory() as folder, l7_node(Path(folder)) as node:
            sheet = _rounds(node)
            results = sheet.results() + l7_xds.measure(node)
    finally:
        os.sched_setaffinity(0, cores)
    publish("l7", results)


def _rounds(node: Node) -> Sheet:
    sheet = Sheet()
    for kind in KINDS:
        for number in range(ROUNDS):
            order = list(NAMES) if number < ASIDE_ROUNDS else list(JUDGED)
            for path in order if number % 2 else reversed(order):
                _one(node, sheet, kind, path)
    if not sheet.costs[KEPT, ONE].requests:
        raise SystemExit("the controller has counted no request")
    return sheet


def _one(node: Node, sheet: Sheet, kind: str, path: int) -> None:
    names = ("stock", "envoy", "controller", "hubble")
    before = {name: node.cpu(name) for name in names}
    counted = node.counts()
    url = f"http://{POD_V4[1]}:{SERVER_PORT + path}{PATH}"
    found = l7_load.run(node.client(), kind, url, SECONDS)
    if path in (ONE, MANY):
        node.idle()
    sheet.rates.setdefault((kind, path), []).append(found)
    after = node.counts()
    spent = {name: node.cpu(name) - before[name] for name in names}
    moved = {name: after[name] - counted.get(name, 0.0) for name in after}
    # A request that Envoy could not tell of has no record, neither its own nor its answer's.
    lost = moved["lost"] + 2 * moved["dropped"]
    requests = moved["received"] + moved["dropped"] if path in (ONE, MANY) else found * SECONDS
    sheet.costs.setdefault((kind, path), Cost()).add(requests, spent, lost)
