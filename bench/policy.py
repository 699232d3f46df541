# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=policy`: what enforcement costs, in packets, connections and changes.

ns/packet by test runs (known connections; hot cache) and the kernel's statistics (first packets:
a system call each, so caches are cooler and its clock reads are included), tables of 10 and of
10 000 rows taking turns; connect rates beside iptables and an nft set with the same rules; the cost
of an event. Wall-clock figures share the
machine with whatever else runs: the load is in the file.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import policy_events, policy_rates
from bench.datapath_node import POD_V4, POD_V6, Bench, bench_node
from bench.policy_rules import PORT, ROW_SHAPES, Switch
from bench.report import Result, bound, publish
from bench.statistics import paired_ratio
from cilium_agent.datapath import syscall
from cilium_agent.datapath.reporting import report_events
from cilium_core.addresses import pack_address

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "12"))
FEW, MANY = 10, 10_000
WITHIN = 1.03
HOPS = 255
GATEWAY = "02:00:00:00:00:fe"
SYN, ACK = "S", "A"
NEW_A_ROUND = 1500


def run() -> None:
    """Measure everything and publish it."""
    with tempfile.TemporaryDirectory() as folder, bench_node() as bench:
        switch = Switch(bench)
        report_events(bench.store, ())
        results = _packets(bench, switch)
        results += policy_events.measure(bench, switch)
        report_events(bench.store, ())
        results += policy_rates.measure(bench, switch, Path(folder))
    publish("policy", results)


def context(bench: Bench, pod: int = 0) -> bytes:
    """Return the `struct __sk_buff` of a packet that comes in by a pod's device."""
    made = bytearray(192)
    made[40:44] = bench.endpoints[pod].host_ifindex.to_bytes(4, "little")
    return bytes(made)


def _frame(family: int, sport: int, flags: str) -> bytes:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    body = TCP(sport=sport, dport=PORT, flags=flags) / Raw(b"x" * 64 if flags == ACK else b"")
    if family == 4:
        return bytes(Ether(dst=GATEWAY) / IP(src=POD_V4[0], dst=POD_V4[1], ttl=HOPS) / body)
    return bytes(Ether(dst=GATEWAY) / IPv6(src=POD_V6[0], dst=POD_V6[1], hlim=HOPS) / body)


class _Packets:
    """Runs packets through the programs; every method gives ns/packet."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._fd = bench.programs.open("from_container")
        self._context = context(bench)
        self._known = {family: _frame(family, 4000, ACK) for family in (4, 6)}
        syn = _frame(4, 0, SYN)
        self._new = [syn[:34] + (20000 + n).to_bytes(2, "big") + syn[36:] for n in range(20_000)]
        self._next = 0

    def close(self) -> None:
        os.close(self._fd)

    def known(self, family: int) -> float:
        """Established, both pods' policies in force: 60 runs of as many packets as hops allow."""
        frame, repeat = self._known[family], HOPS - 5
        self._check(frame)
        return statistics.median(
            float(syscall.program_test_run(self._fd, frame, self._context, repeat).duration_ns)
            for _ in range(60)
        )

    def new(self, kept: bool = True) -> float:
        """First packets, each of a connection of its own, by the kernel's statistics.

        With `kept` False no CPU has met the rows and addresses since the tables last changed.
        """
        first = self._next
        self._next = (first + NEW_A_ROUND) % (len(self._new) - NEW_A_ROUND)
        frames = self._new[first : first + NEW_A_ROUND]
        self._check(frames[0])
        before = syscall.program_info(self._fd)
        for frame in frames:
            if not kept:
                self._bench.store.renew()
            syscall.program_test_run(self._fd, frame, self._context, room=64)
        after = syscall.program_info(self._fd)
        self._forget()
        runs = after.run_count - before.run_count
        if not NEW_A_ROUND <= runs <= NEW_A_ROUND * 1.01:  # a pod's own packet may be among them
            raise SystemExit(f"{runs} runs counted of {NEW_A_ROUND}")
        return (after.run_time_ns - before.run_time_ns) / runs

    def judged(self) -> float:
        """A packet that policy allows or drops each time, since nothing is remembered of it."""
        frame = self._known[4][:36] + (PORT + 1).to_bytes(2, "big") + self._known[4][38:]
        if syscall.program_test_run(self._fd, frame, self._context).verdict != 2:
            raise SystemExit("a port without a rule is open")
        return statistics.median(
            float(syscall.program_test_run(self._fd, frame, self._context, 20_000).duration_ns)
            for _ in range(3)
        )

    def _check(self, frame: bytes) -> None:
        if syscall.program_test_run(self._fd, frame, self._context).verdict == 2:
            raise SystemExit("the bench's own rule does not allow its packets")

    def _forget(self) -> None:
        pod = pack_address(POD_V4[0])
        table = self._bench.store.connections
        table.delete_many([key for key, _ in table.items() if pod in (key.local, key.peer)])


@contextmanager
def _shooting(bench: Bench) -> Iterator[_Packets]:
    packets = _Packets(bench)
    try:
        with bench.node.entered():
            yield packets
    finally:
        packets.close()


def _packets(bench: Bench, switch: Switch) -> list[Result]:
    found: list[Result] = []
    for shape in ROW_SHAPES:
        samples: dict[tuple[str, int], list[float]] = {}
        with _shooting(bench) as packets:
            for number in range(ROUNDS):
                for count in (FEW, MANY) if number % 2 else (MANY, FEW):
                    switch.to(ROW_SHAPES[shape](count))
                    for name, cost in _round(packets):
                        samples.setdefault((name, count), []).append(cost)
        for name in dict.fromkeys(name for name, _ in samples):
            found += _compare(f"{name}, {shape}", samples[name, FEW], samples[name, MANY])
    return found


def _round(packets: _Packets) -> Iterable[tuple[str, float]]:
    yield "established, v4", packets.known(4)
    yield "established, v6", packets.known(6)
    with syscall.run_statistics():
        yield "new connection, v4", packets.new()
        yield "new connection that finds nothing kept, v4", packets.new(kept=False)
    yield "judged and dropped, v4", packets.judged()


def _compare(name: str, few: Sequence[float], many: Sequence[float]) -> list[Result]:
    interval = paired_ratio(many, few)
    growth = Result(
        f"{name}: {MANY} rows against {FEW}",
        round(interval.middle, 4),
        "ratio",
        WITHIN,
        "lower",
        interval.middle <= WITHIN,
        f"{FEW} rows",
        round(interval.high - interval.low, 4),
        list(many),
        list(few),
    )
    if name.startswith(("judged", "new connection that")):
        growth.target = growth.met = None  # not what most packets meet
    return [
        bound(f"{name}, {FEW} rows", few, "ns/packet"),
        bound(f"{name}, {MANY} rows", many, "ns/packet"),
        growth,
    ]
