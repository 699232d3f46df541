# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=control-plane`: what attaching a pod costs beside the same work by shell.

The static plugin, the CNI server, netlink, SQLite are the real ones; Kubernetes and the eBPF maps
are in memory, so what the API server and map writes add is not in these figures. Rounds are
interleaved; everything is in a network namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.report import Result, bound, publish
from bench.statistics import paired_ratio, percentile

ROOT = Path(__file__).parents[1]
SHIM = ROOT / "packages" / "agent" / "shim" / "cilium-cni.c"
CONF = json.dumps({"cniVersion": "1.0.0", "name": "cilium", "type": "cilium-cni"}).encode()
ROUNDS = int(os.environ.get("BENCH_ADDS", "100"))
AT_ONCE = 30
CLONE_NEWNET = 0x40000000
BASELINE = """
ip netns add {ns}
ip link add {host} type veth peer name {peer}
ip link set {peer} netns {ns} name eth0
ip link set {host} up
ip -n {ns} link set lo up
ip -n {ns} link set eth0 up
ip -n {ns} addr add 10.1.0.{n}/32 dev eth0
ip -n {ns} route add 10.1.0.1 dev eth0 scope link
ip -n {ns} route add default via 10.1.0.1 dev eth0
ip -n {ns} -6 addr add fd01::{n}/128 dev eth0 nodad
ip -n {ns} -6 route add fd01::1 dev eth0
ip -n {ns} -6 route add default via fd01::1 dev eth0
"""


class Node:
    """A running server, the plugin and namespaces for pods."""

    def __init__(self, folder: Path) -> None:
        """Build the plugin and start the server in `folder`."""
        self.folder = folder
        self.plugin = folder / "cilium-cni"
        compiler = shutil.which("musl-gcc") or "gcc"
        subprocess.run([compiler, "-static", "-O2", "-o", str(self.plugin), str(SHIM)], check=True)
        self.start_seconds, self.adopted = self._start()

    def restart(self) -> None:
        """Kill the server and start it again on the same folder."""
        self.stop()
        self.start_seconds, self.adopted = self._start()

    def stop(self) -> None:
        """End the server without a word."""
        self.process.kill()
        self.process.wait()

    def resident_mib(self) -> float:
        """Return the server's resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the server is gone")

    def call(self, command: str, number: int, netns: str) -> float:
        """Run one CNI call and return its seconds. RuntimeError with what the plugin printed."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"c{number}",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": netns,
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=p{number};"
            f"K8S_POD_UID=uid-p{number}",
            "CILIUM_RUN_DIR": str(self.folder),
        }
        begin = time.perf_counter()
        done = subprocess.run(
            [self.plugin], env=environment, input=CONF, capture_output=True, check=False
        )
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            raise RuntimeError(f"{command} of c{number}: {done.stdout.decode()}")
        return seconds

    def _start(self) -> tuple[float, int]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.control_plane_agent", str(self.folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words = line.split()
            if words[:1] == ["ready"]:
                self._drain = ThreadPoolExecutor(1)
                self._drain.submit(self.process.stdout.read)
                return float(words[1]), int(words[2])
        raise RuntimeError("the server ended before it was ready")


def run() -> None:
    """Measure everything and publish it."""
    with tempfile.TemporaryDirectory() as folder, _own_netns(), ExitStack() as stack:
        node = Node(Path(folder))
        stack.callback(node.stop)
        empty = node.resident_mib()
        names = [f"bench{os.getpid()}-{number}" for number in range(ROUNDS + AT_ONCE)]
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        paths = [f"/run/netns/{name}" for name in names]
        adds, shell = _sequential(node, paths[:ROUNDS])
        full = node.resident_mib()
        node.restart()
        results = _judge_adds(adds, shell)
        results += _at_once(node, paths)
        dels = [node.call("DEL", number, "") for number in range(ROUNDS)]
        results += [
            bound("CNI DEL p50", _ms(dels), "ms", _ms([percentile(adds, 0.5)])[0], "at most ADD's"),
            Result("memory, no pod", round(empty, 1), "MiB", note="CNI half of the agent only"),
            Result(f"memory, {ROUNDS} pods", round(full, 1), "MiB", note="the same"),
            bound(f"restart with {node.adopted} pods", [node.start_seconds], "s", 5.0),
        ]
        publish("control-plane", results)


def _sequential(node: Node, paths: list[str]) -> tuple[list[float], list[float]]:
    adds, shell = [], []
    for number, path in enumerate(paths):
        adds.append(node.call("ADD", number, path))
        shell.append(_by_shell(number))
    return adds, shell


def _judge_adds(adds: list[float], shell: list[float]) -> list[Result]:
    against = paired_ratio(adds, shell)
    return [
        Result(
            "CNI ADD against shell",
            round(against.middle, 3),
            "ratio",
            target=1.5,
            better="lower",
            met=against.middle <= 1.5,
            baseline="ip netns add, veth, addresses, routes by sh",
            spread=round(against.high - against.low, 3),
            samples=_ms(adds),
            baseline_samples=_ms(shell),
        ),
        bound("CNI ADD p50", _ms(adds), "ms"),
        bound("CNI ADD p99", _ms([percentile(adds, 0.99)]), "ms", 150),
        bound("shell p50", _ms(shell), "ms"),
    ]


def _at_once(node: Node, paths: list[str]) -> list[Result]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        numbers = range(ROUNDS, ROUNDS + AT_ONCE)
        times = list(pool.map(lambda n: node.call("ADD", n, paths[n]), numbers))
        list(pool.map(lambda n: node.call("DEL", n, ""), numbers))
    return [
        bound(f"CNI ADD p50, {AT_ONCE} at once", _ms(times), "ms"),
        bound(f"CNI ADD p99, {AT_ONCE} at once", _ms([percentile(times, 0.99)]), "ms", 150),
    ]


def _by_shell(number: int) -> float:
    names = {"ns": f"shell{os.getpid()}", "host": "sh0", "peer": "sh1", "n": number % 250 + 2}
    begin = time.perf_counter()
    subprocess.run(["sh", "-ec", BASELINE.format(**names)], check=True)
    seconds = time.perf_counter() - begin
    _ip("netns", "del", str(names["ns"]))
    subprocess.run(["ip", "link", "del", "sh0"], check=False, stderr=subprocess.DEVNULL)
    return seconds


@contextmanager
def _own_netns() -> Iterator[None]:
    """Put this thread, and the processes it starts, into a new network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise PermissionError("a network namespace could not be made; run as root")
    try:
        yield
    finally:
        libc.setns(old, CLONE_NEWNET)
        os.close(old)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _ms(seconds: list[float]) -> list[float]:
    return [round(value * 1000, 3) for value in seconds]
