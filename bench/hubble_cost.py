# SPDX-License-Identifier: Apache-2.0
"""What hubble takes from traffic: requests and connections of one pod to another, with and without.

On, the programs write all events and the real daemon reads them; off, they write none and it has
nothing to read. Client on CPU 0; server and daemon on CPU 1. Rounds take turns.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.datapath import build_tool, load, server
from bench.datapath_node import POD_V4, bench_node
from bench.hubble_process import running
from bench.policy_rules import Switch
from bench.report import Result, ratio
from cilium_agent.datapath.reporting import ALL_EVENTS, report_events
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Row, RowKey

ROUNDS = 12
TARGET = 0.98
KINDS = {"rr": "TCP_RR", "crr": "TCP_CRR"}
_OFF = "hubble off"


def measure() -> list[Result]:
    """Return rates with hubble on as ratios to those with it off."""
    with bench_node() as bench, tempfile.TemporaryDirectory() as folder:
        tool = build_tool(Path(folder))
        Switch(bench).to({RowKey(1, way): Row(any_allow=True) for way in Direction})
        report_events(bench.store, ())
        rates: dict[tuple[str, bool], list[float]] = {}
        with running(bench.bpf_root, Path(folder)) as hubble, server(bench.pods[1], tool):
            before = hubble.read()
            for number in range(ROUNDS):
                for kind in KINDS:
                    for on in (False, True) if number % 2 else (True, False):
                        report_events(bench.store, ALL_EVENTS if on else ())
                        found = load(bench.pods[0], tool, kind, POD_V4[1])
                        rates.setdefault((kind, on), []).append(found)
            events = hubble.read() - before
    if not events:
        raise SystemExit("hubble has read no event")
    return [
        ratio(
            f"{title}, hubble on",
            rates[kind, True],
            rates[kind, False],
            _OFF,
            TARGET,
            f"{events} events read",
        )
        for kind, title in KINDS.items()
    ]
