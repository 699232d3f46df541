# SPDX-License-Identifier: Apache-2.0
"""What the DNS proxy adds: latency, questions a second, and answers that come before their time.

Client, node and server are network namespaces, as in the proxy's tests (root); the agent is the
real one's rooms for names and policy over real maps: every name is one that a policy selects.
Rounds with and without the proxy take turns.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.dns_ends import ADDRESSES, PORT
from bench.report import Result, bound, publish
from bench.statistics import percentile

TESTS = Path(__file__).parents[1] / "packages/proxy/tests/dns"
ROUNDS = 5
QUESTIONS = 2000  # a round
WIDTH = 32
ADDED_P50_US = 300.0
ADDED_P99_US = 2000.0


class _World:
    """The running parts, and a client on demand."""

    def __init__(self, lab: Any, state: Path) -> None:
        self.lab = lab
        self.state = state

    def inside(self, place: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", place, sys.executable, "-m", "bench.dns_ends", *words]

    def ask(self, proxied: bool, *words: str) -> dict[str, Any]:
        if proxied:
            self.lab.lead_to(PORT)
        else:
            self.lab.lead_nowhere()
        done = subprocess.run(
            self.inside(self.lab.client, *words), capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def _world(answers: str) -> Iterator[_World]:
    sys.path.insert(0, str(TESTS))
    places = importlib.import_module("dns_lab")
    with tempfile.TemporaryDirectory() as folder, places.lab() as lab:
        state = Path(folder)
        (state / "marks").write_bytes(bytes(ADDRESSES))
        world = _World(lab, state)
        maps = state / "bpf"
        maps.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", str(maps)], check=True)
        started = [
            subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            for words in (
                world.inside(lab.server, "server", answers),
                [sys.executable, "-m", "bench.dns_agent", folder, str(maps / "maps")],
            )
        ]
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        proxy = places.Proxy(lab.node, state)
        try:
            _until_answers(world)
            yield world
        finally:
            proxy.kill()
            for process in started:
                process.kill()
                process.wait()
            subprocess.run(["umount", str(maps)], check=True)


def _until_answers(world: _World) -> None:
    end = time.monotonic() + 20
    while world.ask(True, "one-by-one", "1", str(world.state))["lost"]:
        if time.monotonic() > end:
            raise RuntimeError("the DNS proxy does not answer; its log is in the state directory")


def run() -> Path:
    """Measure with answers that repeat and answers that are new each time; publish."""
    results: list[Result] = []
    for answers in ("repeating", "changing"):
        with _world(answers) as world:
            results += _latency(world, answers)
            rates = [
                world.ask(True, "together", str(3 * QUESTIONS), str(WIDTH))["rate"]
                for _ in range(ROUNDS)
            ]
            figure = f"{answers} answers: questions a second, {WIDTH} in hand"
            results.append(Result(figure, round(sorted(rates)[ROUNDS // 2]), "/s", samples=rates))
    return publish("dns", results)


def _latency(world: _World, answers: str) -> list[Result]:
    p50: list[float] = []
    p99: list[float] = []
    early = lost = 0
    for _ in range(ROUNDS):
        direct, proxied = (
            world.ask(led, "one-by-one", str(QUESTIONS), str(world.state)) for led in (False, True)
        )
        for share, added in ((0.5, p50), (0.99, p99)):
            both = (percentile(one["seconds"], share) for one in (proxied, direct))
            added.append((next(both) - next(both)) * 1e6)
        early += proxied["early"]
        lost += proxied["lost"]
    asked = ROUNDS * QUESTIONS
    return [
        bound(f"{answers} answers: added p50", p50, "µs", ADDED_P50_US),
        bound(f"{answers} answers: added p99", p99, "µs", ADDED_P99_US),
        bound(f"{answers} answers: released too early, of {asked}", [early], "", 0),
        bound(f"{answers} answers: lost, of {asked}", [lost], "", 0),
    ]
