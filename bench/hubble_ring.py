# SPDX-License-Identifier: Apache-2.0
"""At which rate of events hubble loses none: the kernel's real ring, the real daemon on one core.

The programs write events about packets that one CPU shoots at a steady rate; the daemon, a process
held to the other CPU, names and stores them. After every run what was produced is what hubble says
it read plus what the kernel says found no room, to the event, or the bench fails.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datapath_node import POD_V4, Bench, bench_node
from bench.hubble_process import PEERS, REST, Hubble, follower, peer, running
from bench.policy_events import Ring
from bench.policy_rules import PORT, Switch, of_many_endpoints
from bench.report import Result
from cilium_agent.datapath import syscall
from cilium_agent.datapath.reporting import report_events
from cilium_core.layouts.events import RING_BYTES, Event
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Row, RowKey

TARGET = 50_000.0
SECONDS, LONG_SECONDS = 3.0, 10.0
TICK = 0.001
FIRST_RATE = 50_000.0
HALVINGS = 4  # to one part in 16
REPEAT = 4  # packets of one frame in a row
GATEWAY = "02:00:00:00:00:fe"


@dataclass(frozen=True)
class Trial:
    """One run at a rate."""

    rate: float  # reached, events/s
    produced: int
    read: int
    lost: int
    busy: float  # of the reader's core, 0 to 1


class Gun:
    """Shoots packets of a pod that cause events; knows how many events each frame causes."""

    def __init__(self, bench: Bench) -> None:
        """Put a policy in force that denies some and lets others out; count each frame's events."""
        opened = RowKey(1, Direction.EGRESS, Protocol.ICMP)
        Switch(bench).to({**of_many_endpoints(1000), opened: Row(any_allow=True)})
        report_events(bench.store)
        self._fd = bench.programs.open("from_container")
        context = bytearray(192)
        context[40:44] = bench.endpoints[0].host_ifindex.to_bytes(4, "little")
        self._context = bytes(context)
        ring = Ring(bench.store.events.fd)
        ring.drain()
        self._frames = []
        for frame in _frames():
            self._shoot(frame)
            self._frames.append((frame, ring.drain()))
        ring.close()
        self._next = 0

    def fire(self, events: int) -> int:
        """Cause at least so many events; return how many."""
        caused = 0
        while caused < events:
            frame, each = self._frames[self._next]
            self._next = (self._next + 1) % len(self._frames)
            self._shoot(frame)
            caused += each
        return caused

    def _shoot(self, frame: bytes) -> None:
        syscall.program_test_run(self._fd, frame, self._context, REPEAT, room=64)

    def close(self) -> None:
        """Close the program."""
        os.close(self._fd)


def measure() -> list[Result]:
    """Return the highest rate without a loss, and what the target's rate costs."""
    cores = os.sched_getaffinity(0)
    with bench_node() as bench, tempfile.TemporaryDirectory() as folder:
        for pod in bench.pods:
            pod.ip("link", "set", "eth0", "down")  # a pod's own packets would be events too
        with bench.node.entered():
            gun = Gun(bench)
        os.sched_setaffinity(0, {REST})
        try:
            with running(bench.bpf_root, Path(folder), history=False) as hubble:
                field = _Range(bench, gun, hubble)
                field.trial(FIRST_RATE, 1.0)
                without, trials = _highest(field)
            with running(bench.bpf_root, Path(folder)) as hubble:
                results = _figures(_Range(bench, gun, hubble), Path(folder))
                results.append(_unwritten(hubble))
            return [_rate("the same without the history", without, trials), *results]
        finally:
            os.sched_setaffinity(0, cores)
            gun.close()


class _Range:
    """Where trials are held."""

    def __init__(self, bench: Bench, gun: Gun, hubble: Hubble) -> None:
        self._bench, self._gun, self._hubble = bench, gun, hubble

    def trial(self, rate: float, seconds: float) -> Trial:
        """Shoot at a rate; wait until all is read; hold produced against read and lost."""
        read, lost, busy = self._hubble.read(), self._lost(), self._hubble.cpu_seconds()
        produced = 0
        with self._bench.node.entered():
            begin = time.perf_counter()
            while (elapsed := time.perf_counter() - begin) < seconds:
                produced += self._gun.fire(int(elapsed * rate) - produced)
                time.sleep(max(0.0, TICK - (time.perf_counter() - begin - elapsed)))
        busy = (self._hubble.cpu_seconds() - busy) / elapsed
        end = time.monotonic() + 10
        while True:
            found = self._hubble.read() - read, self._lost() - lost
            if sum(found) == produced:
                return Trial(produced / elapsed, produced, *found, busy)
            if not self._hubble.alive() or time.monotonic() > end:
                raise SystemExit(f"{produced} events produced, {found} read and lost")
            time.sleep(0.1)

    def _lost(self) -> int:
        return sum(self._bench.store.lost_events.totals().values())


def _figures(field: _Range, folder: Path) -> list[Result]:
    field.trial(FIRST_RATE, 1.0)  # names are looked up once
    at_target = field.trial(TARGET * 1.02, LONG_SECONDS)
    highest, trials = _highest(field)
    with follower(folder):
        followed = field.trial(TARGET * 1.02, LONG_SECONDS)
    room = f"ring of {RING_BYTES >> 20} MiB ({RING_BYTES // (Event.SIZE + 8)} events)"
    return [
        _rate("events read off the kernel's ring and stored, none lost", highest, trials, room),
        _lost(f"events lost at {TARGET:g}/s for {LONG_SECONDS:g} s", at_target),
        Result(
            f"hubble's share of its core at {TARGET:g}/s",
            round(at_target.busy, 3),
            "cores",
            better="lower",
        ),
        _lost(f"events lost at {TARGET:g}/s while a client follows every flow", followed),
    ]


def _rate(name: str, highest: Trial, trials: Sequence[Trial], note: str = "") -> Result:
    return Result(
        name,
        round(highest.rate),
        "1/s",
        TARGET,
        met=highest.rate >= TARGET,
        samples=[trial.rate for trial in trials],
        note=f"one core for hubble; {highest.produced} produced = read" + f"; {note}" * bool(note),
    )


def _unwritten(hubble: Hubble) -> Result:
    time.sleep(5)
    kept, dropped = (hubble.metric(f"hubble_history_{what}") for what in ("flows", "dropped"))
    note = f"over all trials, also those that lost events; {kept} are on disk"
    return Result(
        "flows that the history could not take", dropped, "flows", 0.0, "lower", None, note=note
    )


def _lost(name: str, trial: Trial) -> Result:
    note = f"{trial.produced} produced, {trial.read} read, at {trial.rate:.0f}/s"
    return Result(name, trial.lost, "events", 0.0, "lower", trial.lost == 0, note=note)


def _highest(field: _Range) -> tuple[Trial, Sequence[Trial]]:
    """Double the rate until something is lost, halve the interval, confirm over a longer run."""
    trials: list[Trial] = []

    def passes(rate: float) -> bool:
        trials.append(found := field.trial(rate, SECONDS))
        return not found.lost and found.rate > 0.95 * rate  # else the producer does not keep up

    good = FIRST_RATE / 2
    while passes(2 * good):
        good *= 2
    bad = 2 * good
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if passes(middle) else (good, middle)
    while True:
        trials.append(found := field.trial(good, LONG_SECONDS))
        if not found.lost:
            return found, trials
        good *= 0.9


def _frames() -> list[bytes]:
    """Return packets to many peers: half of them judged and let out, half dropped."""
    from scapy.layers.inet import ICMP, IP, TCP
    from scapy.layers.l2 import Ether

    def frame(number: int) -> bytes:
        # An ICMP message other than echo opens nothing: it is judged and told each time.
        port = 4000 + number
        body = ICMP(type=13) if number % 2 else TCP(sport=port, dport=PORT + 1, flags="S")
        return bytes(Ether(dst=GATEWAY) / IP(src=POD_V4[0], dst=peer(number)) / body)

    return [frame(number) for number in range(PEERS)]
