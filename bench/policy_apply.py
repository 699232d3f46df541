# SPDX-License-Identifier: Apache-2.0
"""`make bench BENCH=policy-apply`: from a policy's object to the kernel's maps, 100 endpoints.

The agent's own parts over real maps: repository, keeper and its loop, tables, ipcache. What comes
before (the API server, its watch) is not in the figures.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from statistics import median
from typing import Any, NamedTuple

from bench.datapath_node import Bench, bench_node
from bench.policy_engine import NAMESPACE, NAMESPACES, TEAM, labels, policy
from bench.report import Result, bound, publish
from bench.statistics import percentile
from cilium_agent import garbage
from cilium_agent.datapath.endpoints import Enforcement, endpoint_rows, ipcache_rows
from cilium_agent.datapath.enforcement import PolicyMaps
from cilium_agent.ipcache.writer import IpcacheWriter
from cilium_agent.model import Endpoint
from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_agent.policy.prefixes import IpcachePrefixes
from cilium_agent.policy.repository import PolicyKey, Repository
from cilium_core.layouts.datapath import EndpointKey
from cilium_core.policy.rules import Policy, PortRange, Protocol
from cilium_core.policy.tables import Step

ENDPOINTS, IDENTITIES = 100, 1000
FIRST_IDENTITY = 20_000
ROUNDS = 200
LIMIT_MS = 100.0
ONE_IDENTITY_MS = 10.0


class Counted(PolicyMaps):
    """Policy maps that count the entries written and removed."""

    writes = 0

    def apply(self, steps: Sequence[Step]) -> None:
        """Write the steps in their order."""
        self.writes += self.kernel.apply(steps)


class Node:
    """100 endpoints, one in each namespace, and 1 000 identities, over the bench's maps."""

    def __init__(self, bench: Bench) -> None:
        """Write the endpoints; no policies yet."""
        store = bench.store
        self._endpoints = store.endpoints
        self.maps = Counted(store)
        local = self._endpoints.current
        writer = IpcacheWriter(store.ipcache, lambda addr: EndpointKey(addr) in local)
        writer.prune()
        self.prefix_labels = PrefixLabels(dual_stack=True)
        self.repository = Repository("default", (4, 6))
        self.keeper = PolicyKeeper(
            self.maps, IpcachePrefixes(writer), CidrIdentities(self.prefix_labels)
        )
        self.keeper.adopt({})
        for number in range(IDENTITIES):
            self.keeper.set_identity(FIRST_IDENTITY + number, labels(number * 10))
        self.keeper.start(lambda _number: None)
        for number in range(ENDPOINTS):
            endpoint = _endpoint(number)
            self.keeper.prepare(endpoint.endpoint_id, endpoint.identity, endpoint.labels)
            assigned = self.keeper.assigned(endpoint.endpoint_id)
            assert assigned is not None
            store.ipcache.upsert(ipcache_rows(endpoint))
            self._endpoints.upsert(endpoint_rows(endpoint, Enforcement(*assigned)))
            self.keeper.settled(endpoint.endpoint_id)
        self.keeper.flush()

    def background(self, count: int, make: Callable[[int], Policy] = policy) -> None:
        """Have so many policies in force, ten in each namespace."""
        for number in range(count):
            self.keeper.set_policies(number, [make(number)])
        self.keeper.flush()

    def put(self, body: Mapping[str, Any]) -> None:
        """Take an object in, as the informer's handler does."""
        key = _key(body)
        held = self.repository.put(key, body)
        if held.problems:
            raise SystemExit(f"the bench's policy is wrong: {held.problems}")
        self.keeper.set_policies(key, held.policies)
        self.keeper.set_prefixes(self.repository.prefixes())

    def remove(self, body: Mapping[str, Any]) -> None:
        """Take an object out again."""
        self.repository.remove(_key(body))
        self.keeper.set_policies(_key(body), ())
        self.keeper.set_prefixes(self.repository.prefixes())

    def in_the_kernel(self) -> bool:
        """Tell whether the maps hold exactly what the engine wants."""
        wanted = self.keeper.engine.tables
        held = self.maps.kernel.adopt()
        enforced = {row.revision for row in self._endpoints.current.values() if row.policy}
        return held == wanted and enforced == {self.keeper.revision}


def run() -> None:
    """Measure and publish."""
    with bench_node() as bench:
        publish("policy-apply", _measure(bench))


def _measure(bench: Bench) -> list[Result]:
    node = Node(bench)
    node.background(10)
    few = _identity(node)
    node.background(1000)
    many = _identity(node)
    garbage.settle()  # as the agent does when its start is over
    found: list[Result] = []
    for name, took in asyncio.run(_all_changes(node)).items():
        found += _applied(name, took)
    if not node.in_the_kernel():
        raise SystemExit("the maps do not hold what the engine wants")
    return [*found, *_identities(few, many)]


class _Took(NamedTuple):
    """What changes took, in ms: as a user waits, and of the CPU, whatever else the machine did."""

    wall: list[float]
    cpu: list[float]


async def _all_changes(node: Node) -> dict[str, _Took]:
    """Changes by whom they are for; one event loop for all, since the keeper stays with its."""
    kinds = {"one namespace's pods": _narrow(), "all 100 pods": _wide()}
    found = {name: await _changes(node, bodies) for name, bodies in kinds.items()}
    node.background(1000, _unlike)
    found["all 100 pods, no two alike"] = await _changes(node, _wide())
    return found


async def _changes(node: Node, bodies: Sequence[Mapping[str, Any]]) -> _Took:
    """Add, change and remove an object again and again."""
    done = asyncio.Event()
    keeper = node.keeper
    keeper.on_flush = done.set
    failures: list[Exception] = []
    loop = asyncio.create_task(keeper.run(lambda error: failures.append(error) if error else None))
    took = _Took([], [])
    for act in itertools.islice(_acts(node, bodies), ROUNDS):
        await asyncio.sleep(0.002)  # what the last one left is written by then
        done.clear()
        begin, used = time.perf_counter(), time.thread_time()
        act()
        await asyncio.wait_for(done.wait(), 30)
        took.wall.append((time.perf_counter() - begin) * 1000)
        took.cpu.append((time.thread_time() - used) * 1000)
    loop.cancel()
    if failures:
        raise SystemExit(f"the kernel refused a policy: {failures[0]}")
    node.remove(bodies[0])
    keeper.flush()
    return took


def _acts(node: Node, bodies: Sequence[Mapping[str, Any]]) -> Iterator[Callable[[], None]]:
    while True:
        for body in bodies:
            yield lambda body=body: node.put(body)  # type: ignore[misc]
        yield lambda: node.remove(bodies[0])


def _applied(name: str, took: _Took) -> list[Result]:
    title = f"policy of {name}: applied to in the kernel"
    late = percentile(took.wall, 0.99)
    met = late <= LIMIT_MS
    cpu = round(percentile(took.cpu, 0.99), 3)
    return [
        bound(f"{title}, p50", [median(took.wall)], "ms"),
        Result(f"{title}, p99", round(late, 3), "ms", LIMIT_MS, "lower", met, samples=took.wall),
        Result(f"{title}, p99 of CPU time", cpu, "ms", better="lower", samples=took.cpu),
    ]


def _identity(node: Node) -> tuple[list[float], list[int]]:
    """Add one identity that every policy has a rule for, and remove it, again and again."""
    made = {**labels(53), NAMESPACE: "new", TEAM: "new", "k8s:tier": "new"}
    times, writes = [], []
    for _ in range(50):
        before = node.maps.writes
        begin = time.perf_counter()
        node.keeper.set_identity(60_000, made)
        node.keeper.flush()
        times.append((time.perf_counter() - begin) * 1000)
        writes.append(node.maps.writes - before)
        node.keeper.set_identity(60_000, None)
        node.keeper.flush()
    return times, writes


def _identities(
    few: tuple[list[float], list[int]], many: tuple[list[float], list[int]]
) -> list[Result]:
    same = bound("map writes of one more identity, 1000 policies", many[1], "writes", max(few[1]))
    return [
        bound("one more identity in the kernel, 10 policies", few[0], "ms", ONE_IDENTITY_MS),
        bound("one more identity in the kernel, 1000 policies", many[0], "ms", ONE_IDENTITY_MS),
        bound("map writes of one more identity, 10 policies", few[1], "writes"),
        same,
    ]


def _endpoint(number: int) -> Endpoint:
    return Endpoint(
        endpoint_id=100 + number,
        container_id=f"policy{number}",
        interface="eth0",
        netns="",
        pod_namespace=f"ns{number}",
        pod_name=f"pod{number}",
        pod_uid="bench",
        ipv4=IPv4Address("10.0.0.100") + number,
        ipv6=IPv6Address("fd00::1:100") + number,
        host_interface="",
        host_ifindex=0,
        mac=bytes(6),
        node_mac=bytes(6),
        identity=FIRST_IDENTITY + number * 10,
        labels=labels(number * NAMESPACES),
    )


def _key(body: Mapping[str, Any]) -> PolicyKey:
    meta = body["metadata"]
    return PolicyKey(body["kind"], meta.get("namespace", ""), meta["name"])


def _object(kind: str, selector: dict[str, Any], app: int, port: int) -> dict[str, Any]:
    ports = [{"ports": [{"port": str(port), "protocol": "TCP"}]}]
    peer = {"matchLabels": {"app": f"app{app}"}}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": kind,
        "metadata": {"name": "bench", **({"namespace": "ns7"} if "Cluster" not in kind else {})},
        "spec": {
            "endpointSelector": selector,
            "ingress": [{"fromEndpoints": [peer], "toPorts": ports}],
            "egress": [{"toCIDR": [f"192.0.2.{app}/32"]}],
        },
    }


def _unlike(number: int) -> Policy:
    """Return a policy with ports that no other one has, so that endpoints share no work."""
    made = policy(number)
    first, second, third, last = made.rules
    port = 10_000 + 50 * number  # below 60 050
    own = PortRange(Protocol.TCP, port, port + number % NAMESPACES % 50)
    dns = PortRange(Protocol.ANY, port + 49, port + 49)
    return replace(
        made,
        rules=(
            replace(first, ports=frozenset({own})),
            second,
            third,
            replace(last, ports=frozenset({dns})),
        ),
    )


def _narrow() -> list[dict[str, Any]]:
    changes = ((10, 9000), (20, 9000), (20, 9001))
    return [_object("CiliumNetworkPolicy", {}, app, port) for app, port in changes]


def _wide() -> list[dict[str, Any]]:
    changes = ((10, 9000), (20, 9000), (20, 9001))
    return [_object("CiliumClusterwideNetworkPolicy", {}, app, port) for app, port in changes]
