# SPDX-License-Identifier: Apache-2.0
"""Random policies through the real engine into real maps: the kernel judges as the slow model does.

Clusters are those of core's own tests, and so is the model, which knows nothing of tables. One
packet of every kind from each identity, outside and on the node, both families and directions.
Nobody listens on the ports of L7 rule sets, so that each drop says where it was led.
`ENGINE_PACKETS` sets how many (100 000; 1 000 000 with HYPOTHESIS_PROFILE=soak), `EQUIVALENCE_SEED`
which; a failure prints the seed.
"""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from cilium_agent.datapath import syscall
from cilium_agent.datapath.redirects import KernelRedirects
from cilium_agent.datapath.reporting import report_events
from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey
from cilium_core.layouts.events import EventType
from cilium_core.policy.engine import Engine
from cilium_core.policy.plan import plan
from cilium_core.policy.redirects import RuleSet
from cilium_core.policy.rules import Direction


def of_core(name: str) -> ModuleType:
    """Load a module of core's policy tests, which is in nobody's import path."""
    path = Path(__file__).parents[3] / "core" / "tests" / "policy" / f"{name}.py"
    spec = spec_from_file_location(f"core_policy_tests_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate, model = of_core("generate"), of_core("model")

pytestmark = [pytest.mark.root, pytest.mark.timeout(7200)]

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
PACKETS = int(os.environ.get("ENGINE_PACKETS", "1000000" if SOAK else "100000"))
SEED = int(os.environ.get("EQUIVALENCE_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
PACKETS_A_STATE = 100
STATES_A_CLUSTER = 5  # the first from nothing, the others by changes
FORGET = 50_000  # packets, before ports and addresses come round
ENDPOINTS = {"one": 7, "two": 8}  # the known world's pod and peer
NAMES = {"one": "pod", "two": "peer"}
HOST, UNKNOWN = 1, 9999
PODS = {"one": 1001, "two": 1002}  # identities
TCP, UDP, SCTP, GRE = 6, 17, 132, 47
ICMP = {4: 1, 6: 58}
# Messages of the generator that carry no echo: each is judged by its own, nothing is remembered.
MESSAGES = {4: (0, 8), 6: (128, 129)}
MACS = bytes.fromhex("0200000000fe020000000001")
REASONS = {"allow": 0, "deny": 133, "unknown-identity": 171, "l7": 178, "deny-by-rule": 181}
NO_LISTENER, UNCARRIED, FIRST_PORT = 180, -1, 10_000
OUTSIDE = {4: "198.51.0.0", 6: "2001:db8::"}


class Shot(NamedTuple):
    """One packet and who judges it (subject, direction, the peer's identity), in that order."""

    program: str
    ifindex: int
    frame: bytes
    proto: int
    port: int
    judges: tuple[tuple[str, Direction, int], ...]


def outside(family: int, identity: int, number: int) -> str:
    """Return one of the addresses that have an identity."""
    block = (*generate.IDENTITIES, UNKNOWN).index(identity)
    return str(ip_address(int(ip_address(OUTSIDE[family])) + (block << 16) + number % 65_535))


def outside_rows() -> dict[IpcacheKey, IpcacheInfo]:
    rows = {}
    for family, length in ((4, 16), (6, 112)):
        for identity in (*generate.IDENTITIES, UNKNOWN):
            network = outside(family, identity, 0)
            rows[IpcacheKey(*pack_network(f"{network}/{length}"))] = IpcacheInfo(identity)
    return rows


def body_of(proto: int, sport: int, port: int) -> bytes:
    if proto == TCP:
        return struct.pack("!HHIIBBHHH", sport, port, 1, 0, 0x50, 2, 0, 0, 0)
    if proto == UDP:
        return struct.pack("!HHHH", sport, port, 8, 0)
    if proto == SCTP:
        return struct.pack("!HHII", sport, port, 0, 0)
    if proto in ICMP.values():
        return struct.pack("!BBHHH", port, 0, 0, sport, 1)
    return bytes(16)


def framed(source: str, target: str, proto: int, body: bytes) -> bytes:
    a, b = ip_address(source), ip_address(target)
    if a.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, proto, 0)
        return MACS + b"\x08\x00" + head + a.packed + b.packed + body
    return (
        MACS
        + b"\x86\xdd"
        + struct.pack("!IHBB", 6 << 28, len(body), proto, 64)
        + (a.packed + b.packed + body)
    )


class State:
    """One random cluster that changes: the engine's tables of it are in the kernel."""

    def __init__(self, kernel, rng: random.Random) -> None:
        self.engine, self.cluster = Engine(), generate.Cluster.random(rng)
        while not set(ENDPOINTS) <= set(self.cluster.subjects):
            self.cluster = generate.Cluster.random(rng)
        self.cluster.identities.update({n: generate.labels(rng) for n in PODS.values()})
        self._kernel, self._clock = kernel, 0.0
        self._ports: dict[RuleSet, int] = {}
        self._redirects = KernelRedirects(kernel.store)
        self._redirects.delete(self._redirects.held())
        self.cluster.tell(self.engine, rng)
        held = kernel.policy.tables
        self._lead(self.engine.take(self._clock).redirects)
        wanted = self.engine.tables
        gone = {key: None for key in held.rows.keys() - wanted.rows.keys()}
        lost = {at: None for at in held.bits.keys() - wanted.bits.keys()}
        self._write({**wanted.rows, **gone}, {**wanted.bits, **lost})

    def change(self, rng: random.Random) -> None:
        """Change the cluster a little and write the difference; both pods stay."""
        for _ in range(rng.randint(1, 4)):
            self.cluster.change(rng, self.engine)
        for key in ENDPOINTS:
            if key not in self.cluster.subjects:
                self.cluster.subjects[key] = (generate.labels(rng), generate.own_ports(rng))
                self.engine.set_subject(key, *self.cluster.subjects[key])
        self._clock += 1.0
        changes = self.engine.take(self._clock)
        self._lead(changes.redirects)
        self._write(changes.rows, changes.bits)

    def _lead(self, redirects) -> None:
        ports = {
            at: self._ports.setdefault(rules, FIRST_PORT + len(self._ports))
            for at, rules in redirects.items()
            if rules is not None
        }
        self._redirects.write(ports)
        self._redirects.delete([at for at, rules in redirects.items() if rules is None])

    def _write(self, rows, bits) -> None:
        policy, table = self._kernel.policy, self._kernel.store.endpoints
        policy.apply(plan(policy.tables, rows, bits))
        assert policy.tables == self.engine.tables
        numbers = {end: self.engine.policy_number(key) for key, end in ENDPOINTS.items()}
        table.upsert(
            {
                key: replace(row, policy=numbers[row.endpoint_id], revision=self.engine.revision)
                for key, row in table.current.items()
                if row.endpoint_id in numbers
            }
        )
        self.engine.applied(self._clock)
        self.engine.settle()

    def expected(self, shot: Shot) -> tuple[int, int, int]:
        """Return (drop reason, direction, proxy port) by the model; zeros for one that passes."""
        for key, direction, identity in shot.judges:
            if direction is Direction.INGRESS and identity == HOST:
                continue  # a node may reach its own pods, whatever policies say
            labels, ports = self.cluster.subjects[key]
            peer = self.cluster.identities.get(identity)
            found = model.verdict(
                self.cluster.all_policies,
                (labels, ports, False),
                direction,
                shot.proto,
                shot.port,
                peer,
                () if peer else self.cluster.identities.values(),
            )
            if REASONS[str(found)]:
                port = self._port(direction, shot, identity) if str(found) == "l7" else 0
                if port == UNCARRIED:
                    return NO_LISTENER, int(direction), 0
                return REASONS[str(found)], int(direction), port
        return 0, 0, 0

    def _port(self, direction: Direction, shot: Shot, identity: int) -> int:
        if shot.proto not in (TCP, UDP):
            return UNCARRIED
        key = next(key for key, way, peer in shot.judges if (way, peer) == (direction, identity))
        labels, ports = self.cluster.subjects[key]
        subject, peer = (labels, ports, False), self.cluster.identities.get(identity)
        rules, everything = model.rule_set(
            self.cluster.all_policies, subject, direction, shot.proto, shot.port, peer
        )
        return self._ports[RuleSet(direction, frozenset(rules), everything)]


def random_shot(rng: random.Random, kernel, worlds, number: int) -> Shot:
    family = rng.choice((4, 6))
    world = worlds[family]
    proto = rng.choice((TCP, TCP, TCP, UDP, UDP, SCTP, ICMP[family], GRE))
    ports = MESSAGES[family] if proto in ICMP.values() else generate.PORTS
    port = 0 if proto == GRE else rng.choice(ports)
    sport = 2000 + number % 59_000  # those above are proxies'
    mine, other = rng.sample(sorted(ENDPOINTS), 2)
    devices = {"one": kernel.pod_ifindex, "two": kernel.peer_ifindex}
    body = body_of(proto, sport, port)
    identity = rng.choice((*generate.IDENTITIES, UNKNOWN))
    address = outside(family, identity, number)
    # Without ports, pods' packets would all be of one connection.
    way = rng.choice(("in", "out") if proto == GRE else ("in", "out", "pods"))
    pod = world[NAMES[mine]]
    if way == "in":
        frame = framed(address, pod, proto, body)
        judges = ((mine, Direction.INGRESS, identity),)
        return Shot("from_host", 0, frame, proto, port, judges)
    if way == "out":
        frame = framed(pod, address, proto, body)
        judges = ((mine, Direction.EGRESS, identity),)
        return Shot("from_container", devices[mine], frame, proto, port, judges)
    frame = framed(pod, world[NAMES[other]], proto, body)
    both = (
        (mine, Direction.EGRESS, PODS[other]),
        (other, Direction.INGRESS, PODS[mine]),
    )
    return Shot("from_container", devices[mine], frame, proto, port, both)


class Gun:
    """Fires frames at the programs; drops are read off the ring."""

    def __init__(self, kernel) -> None:
        self._kernel = kernel
        names = ("from_container", "from_host")
        self._programs = {name: kernel.programs.open(name) for name in names}

    def fire(self, shot: Shot) -> tuple[int, int, int]:
        context = bytearray(192)
        context[40:44] = (shot.ifindex or self._kernel.pod_ifindex).to_bytes(4, "little")
        fd = self._programs[shot.program]
        result = syscall.program_test_run(fd, shot.frame, bytes(context), room=64)
        events = self._kernel.ring.take()
        drops = [(event.subtype, event.direction, event.proxy_port) for event in events]
        assert len(drops) == (result.verdict == 2), "a drop is told, and only a drop"
        return drops[0] if drops else (0, 0, 0)

    def close(self) -> None:
        for fd in self._programs.values():
            os.close(fd)


@pytest.fixture
def gun(kernel) -> Iterator[Gun]:
    kernel.store.ipcache.upsert(outside_rows())
    report_events(kernel.store, [EventType.DROP])
    with ExitStack() as undo:
        undo.enter_context(kernel.namespace.entered())
        made = Gun(kernel)
        undo.callback(made.close)
        yield made


def test_the_kernel_decides_as_the_model_says(kernel, worlds, gun: Gun) -> None:
    rng = generate.Case(SEED)
    outcomes: Counter[tuple[int, int]] = Counter()
    for number in range(PACKETS):
        if number % FORGET == 0:
            kernel.store.connections.delete_many(list(kernel.connections()))
        if number % (PACKETS_A_STATE * STATES_A_CLUSTER) == 0:
            state = State(kernel, rng)
        elif number % PACKETS_A_STATE == 0:
            state.change(rng)
        shot = random_shot(rng, kernel, worlds, number)
        wanted, found = state.expected(shot), gun.fire(shot)
        assert found == wanted, f"EQUIVALENCE_SEED={SEED}, packet {number}: {shot}"
        outcomes[wanted[:2]] += 1
    ways = {int(direction) for direction in Direction}
    kinds = {(reason, way) for reason in REASONS.values() if reason for way in ways}
    assert kinds | {(0, 0)} <= set(outcomes), f"EQUIVALENCE_SEED={SEED}: too tame, {outcomes}"
