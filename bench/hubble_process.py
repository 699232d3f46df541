# SPDX-License-Identifier: Apache-2.0
"""The hubble daemon as a process on a CPU of its own, with an agent's word about who is who."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.datapath_node import POD_V4
from cilium_agent.nodestate.facts import EndpointFact, IdentityFact, NodeFact, PrefixFact
from cilium_agent.nodestate.service import serve
from cilium_agent.nodestate.state import NodeState

PEERS = 2000
REST, READER = 0, 1  # CPUs: the daemon's is READER
METRICS_PORT = 19_965


class Hubble:
    """The daemon as a process, and its own word about what it read."""

    def __init__(self, process: subprocess.Popen[bytes], metrics: str) -> None:
        """Ask `metrics` for numbers."""
        self.process = process
        self._metrics = metrics

    def read(self) -> int:
        """Return how many events it has taken out of the ring. OSError before it serves."""
        return self.metric("hubble_ring_events_seen")

    def metric(self, name: str) -> int:
        """Return the sum of a metric's samples. OSError before it serves."""
        with urllib.request.urlopen(self._metrics, timeout=5) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            if family.name == name:
                return int(sum(sample.value for sample in family.samples))
        raise SystemExit(f"hubble does not tell of {name}")

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.process.poll() is None


def peer(number: int) -> str:
    """Return the address of one of the peers outside that have names."""
    return f"198.51.{number // 250}.{1 + number % 250}"


@contextmanager
def running(bpf_root: Path, folder: Path, *, history: bool = True) -> Iterator[Hubble]:
    """Run the daemon over the maps below `bpf_root`, its files in `folder`, for the block."""
    config = folder / "config"
    config.mkdir(exist_ok=True)
    flags = {
        "config-dir": config,
        "bpf-root": bpf_root,
        "state-dir": folder,
        "hubble-socket-path": folder / "hubble.sock",
        "hubble-metrics-server": f"127.0.0.1:{METRICS_PORT}",
        "hubble-history-enabled": str(history).lower(),
        "hubble-history-path": folder / "flows.db",
    }
    words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
    command = ["taskset", "-c", str(READER), sys.executable, "-m", "cilium_hubble.main", *words]
    with _names(folder / "nodestate.sock"):
        process = subprocess.Popen(command, env={**os.environ, "K8S_NODE_NAME": "bench"})
        hubble = Hubble(process, f"http://127.0.0.1:{METRICS_PORT}/metrics")
        try:
            _until_served(hubble)
            yield hubble
        finally:
            process.terminate()
            process.wait(10)


def _until_served(hubble: Hubble) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            hubble.read()
            time.sleep(1.0)  # its state is applied
            return
        if not hubble.alive():
            break
        time.sleep(0.1)
    raise SystemExit("hubble does not serve its metrics")


@contextmanager
def _names(path: Path) -> Iterator[None]:
    """Serve what an agent would tell of the pods and their peers, from a thread."""
    state = NodeState()
    labels = ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop")
    state.put(NodeFact("bench", "default"))
    for number, address in enumerate(POD_V4):
        state.put(EndpointFact(number, "shop", f"web-{number}", 1000 + number, labels, (address,)))
    for number in range(PEERS):
        state.put(IdentityFact(1000 + number % 100, (*labels, f"k8s:n={number % 100}")))
        state.put(PrefixFact(f"{peer(number)}/32", 1000 + number % 100, "shop", f"peer-{number}"))
    state.open()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serving() -> None:
        async with serve(path, state):
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serving(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def follower(folder: Path) -> Iterator[None]:
    """Have a client that is sent every flow while the block lasts."""
    words = ["observe", "--follow", "-o", "json", "--server", f"unix://{folder}/hubble.sock"]
    command = ["taskset", "-c", str(REST), sys.executable, "-m", "cilium_hubble.cli.main"]
    process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
    time.sleep(1.5)
    if process.poll() is not None:
        raise SystemExit("the client that follows has ended")
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
