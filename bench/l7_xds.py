# SPDX-License-Identifier: Apache-2.0
"""What the controller and Envoy make of 1 000 rule sets: memory, and a change's way into force.

A change is one rule of one set. It is timed in the agent: from its Update until the Result, which
the controller sends when Envoy has acknowledged the routes.
"""

from __future__ import annotations

import time

from bench.l7_node import MANY, Node, rule_set
from bench.report import Result, bound
from bench.statistics import percentile

SETS = 1000
RULES = 10  # of each set
FIRST = MANY + 1
EDITS = 200
AT_MOST_MS = 50.0


def measure(node: Node) -> list[Result]:
    """Put the rule sets in force, then change one after the other."""
    processes = ("controller", "envoy")
    before = {name: node.memory(name) for name in processes}
    begin = time.perf_counter()
    node.put(*(rule_set(FIRST + number, RULES) for number in range(SETS)))
    took = time.perf_counter() - begin
    found = [bound(f"{SETS} new rule sets in force", [took], "s", None, f"{RULES} rules each")]
    for name in processes:
        note = f"{before[name]:.0f} MiB with two rule sets"
        figure = f"memory of {name}, {SETS} rule sets"
        found.append(bound(figure, [round(node.memory(name))], "MiB", None, note))
    return found + _edits(node)


def _edits(node: Node) -> list[Result]:
    samples = []
    for number in range(EDITS):
        # Each edit takes a rule more than the one before it.
        change = rule_set(FIRST + number * 7 % SETS, RULES + 1, revision=2 + number)
        begin = time.perf_counter()
        node.put(change)
        samples.append((time.perf_counter() - begin) * 1e3)
    name = f"one changed rule among {SETS} rule sets, push until acknowledged"
    return [
        bound(f"{name}, p50", [percentile(samples, 0.5)], "ms"),
        bound(f"{name}, p99", [percentile(samples, 0.99)], "ms", AT_MOST_MS, f"{EDITS} changes"),
    ]
