# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=datapath`: what the programs cost between two pods of one node.

Rates by bench/tools/netbench.c (client on CPU 0, server on CPU 1), rounds interleaved with a raw
veth pair; ns/packet by test runs on a hot cache and by the kernel's own statistics under load.
The run ends by proving that a spoofed packet is still dropped and that counters add up. Not built
yet, so not measured: conntrack and policy (rows 1, 2 and 4 of the bar name them).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.datapath_node import (
    POD_V4,
    POD_V6,
    RAW_V4,
    REMOTE_V4,
    ROUTED_V4,
    Bench,
    Namespace,
    bench_node,
)
from bench.report import Result, bound, publish, ratio
from cilium_agent.datapath import syscall

TOOL = Path(__file__).parent / "tools" / "netbench.c"
PORT = "7777"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "12"))
SECONDS = os.environ.get("BENCH_SECONDS", "0.7")
REPEAT = 1_000_000
HOPS = 255
RAW, ROUTED = "raw veth pair, IPv4", "routed veth without conntrack, IPv4"
# by kind of load: title, and (baseline, target); None publishes only
KINDS: dict[str, tuple[str, dict[str, float | None]]] = {
    "stream": ("TCP_STREAM", {RAW: 0.97}),
    "rr": ("TCP_RR", {RAW: 0.95, ROUTED: None}),
    "crr": ("TCP_CRR", {RAW: None, ROUTED: 0.90}),
}
TEST_RUN_LIMIT = 120.0  # ns/packet, hot cache
GATEWAY = "02:00:00:00:00:fe"
_SPOOFED = 132


def run() -> None:
    """Measure everything and publish it."""
    with tempfile.TemporaryDirectory() as folder, bench_node() as bench:
        tool = build_tool(Path(folder))
        results = _program_sizes(bench)
        results += _test_runs(bench)
        results += _rates(bench, tool)
        results += _live_cost(bench, tool)
        results += _still_right(bench)
        publish("datapath", results)


def build_tool(folder: Path) -> Path:
    tool = folder / "netbench"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", str(tool), str(TOOL)], check=True)
    return tool


def _program_sizes(bench: Bench) -> list[Result]:
    found = []
    for entry in bench.programs.report:
        name = entry["name"]
        found.append(Result(f"{name}: instructions", entry["instructions"], "insns"))
        found.append(bound(f"{name}: stack", [entry["stack_bytes"]], "bytes", 512))
    return found


@contextmanager
def server(namespace: Namespace, tool: Path) -> Iterator[None]:
    process = subprocess.Popen([*namespace.enter, "taskset", "-c", "1", str(tool), "server", PORT])
    time.sleep(0.2)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def load(namespace: Namespace, tool: Path, kind: str, address: str) -> float:
    pinned = [*namespace.enter, "taskset", "-c", "0", str(tool), kind, address, PORT, SECONDS]
    return float(subprocess.run(pinned, check=True, capture_output=True, text=True).stdout)


def _rates(bench: Bench, tool: Path) -> list[Result]:
    paths = {
        RAW: (bench.raw[0], RAW_V4[1]),
        ROUTED: (bench.routed[0], ROUTED_V4[1]),
        "v4": (bench.pods[0], POD_V4[1]),
        "v6": (bench.pods[0], POD_V6[1]),
    }
    rates: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as servers:
        for namespace in (bench.pods[1], bench.raw[1], bench.routed[1]):
            servers.enter_context(server(namespace, tool))
        for number in range(ROUNDS):
            order = list(paths) if number % 2 else list(reversed(paths))
            for kind in KINDS:
                for path in order:
                    namespace, address = paths[path]
                    rate = load(namespace, tool, kind, address)
                    rates.setdefault((kind, path), []).append(rate)
    found = []
    for kind, (title, baselines) in KINDS.items():
        for path in ("v4", "v6"):
            ours = rates[kind, path]
            note = f"median {statistics.median(ours):.4g}/s"
            for baseline, target in baselines.items():
                name = f"{title} pod to pod, {path}"
                judged = ratio(name, ours, rates[kind, baseline], baseline, target or 0.0, note)
                if target is None:
                    judged.target = judged.met = None
                found.append(judged)
    return found


def _frames(bench: Bench) -> dict[str, tuple[str, bytes]]:
    """Return packets of each class, by name, with the program that they enter by."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    body = TCP(sport=4000, dport=80) / Raw(b"x" * 64)
    frames = {
        "pod to pod, v4": ("from_container", IP(src=POD_V4[0], dst=POD_V4[1], ttl=HOPS)),
        "pod to pod, v6": ("from_container", IPv6(src=POD_V6[0], dst=POD_V6[1], hlim=HOPS)),
        "container to node, v4": ("from_container", IP(src=POD_V4[0], dst=REMOTE_V4)),
        "container to world, v4": ("from_container", IP(src=POD_V4[0], dst="198.51.100.1")),
        "container to world, v6": ("from_container", IPv6(src=POD_V6[0], dst="2001:db8::1")),
        "host to pod, v4": ("from_host", IP(src="172.30.0.11", dst=POD_V4[1])),
        "host to pod, v6": ("from_host", IPv6(src="fd00:30::11", dst=POD_V6[1])),
    }
    return {
        name: (prog, bytes(Ether(dst=GATEWAY) / ip / body)) for name, (prog, ip) in frames.items()
    }


def _test_runs(bench: Bench) -> list[Result]:
    context = bytearray(192)
    context[40:44] = bench.endpoints[0].host_ifindex.to_bytes(4, "little")
    found = []
    for name, (program, frame) in _frames(bench).items():
        # A packet to a pod loses a hop each time: a run ends before its limit is used up.
        repeat, runs = (HOPS - 5, 500) if "pod to pod" in name else (REPEAT // 5, 5)
        fd = bench.programs.open(program)
        with bench.node.entered():
            samples = [
                float(syscall.program_test_run(fd, frame, bytes(context), repeat).duration_ns)
                for _ in range(runs)
            ]
        os.close(fd)
        limit = TEST_RUN_LIMIT if "pod to pod" in name else None
        found.append(bound(f"test run, {name}", samples, "ns/packet", limit))
    return found


def _live_cost(bench: Bench, tool: Path) -> list[Result]:
    """ns/packet under load as the kernel counts it (its clock reads included)."""
    found = []
    with server(bench.pods[1], tool), syscall.run_statistics():
        for kind in KINDS:
            fd = bench.programs.open("from_container")
            before = syscall.program_info(fd)
            load(bench.pods[0], tool, kind, POD_V4[1])
            after = syscall.program_info(fd)
            os.close(fd)
            runs = after.run_count - before.run_count
            cost = (after.run_time_ns - before.run_time_ns) / runs
            note = f"{runs} packets"
            found.append(bound(f"live, from_container, {kind}", [cost], "ns/packet", None, note))
    return found


def _still_right(bench: Bench) -> list[Result]:
    """A spoofed source is dropped and each packet counted once, after all that load."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    spoofed = bytes(Ether(dst=GATEWAY) / IP(src=POD_V4[1], dst=POD_V4[0]) / TCP())
    context = bytearray(192)
    context[40:44] = bench.endpoints[0].host_ifindex.to_bytes(4, "little")
    before = _drops(bench)
    fd = bench.programs.open("from_container")
    with bench.node.entered():
        outcome = syscall.program_test_run(fd, spoofed, bytes(context), 1000)
    os.close(fd)
    dropped = _drops(bench) - before
    if outcome.verdict != 2 or dropped != 1000:
        raise SystemExit(f"spoofed packets: verdict {outcome.verdict}, {dropped} of 1000 counted")
    return [Result("spoofed packets dropped and counted", dropped, "of 1000", 1000, met=True)]


def _drops(bench: Bench) -> int:
    totals = bench.store.metrics.totals()
    return sum(info.count for key, info in totals.items() if key.reason == _SPOOFED)
