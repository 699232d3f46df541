# SPDX-License-Identifier: Apache-2.0
"""Random tables and packets: a slow reading of the tables agrees with the kernel on every packet.

`EQUIVALENCE_PACKETS` sets how many (100 000), `EQUIVALENCE_SEED` which; a failure prints the seed,
and with `pytest -s` so does every run, with its rate.
"""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import pytest

from cilium_agent.datapath import syscall
from cilium_agent.datapath.reporting import report_events
from cilium_core.addresses import pack_network
from cilium_core.layouts.datapath import IpcacheInfo, IpcacheKey
from cilium_core.layouts.events import EventType
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Cell, Row, RowKey, Step, Tables

pytestmark = pytest.mark.root

PACKETS = int(os.environ.get("EQUIVALENCE_PACKETS", "100000"))
SEED = int(os.environ.get("EQUIVALENCE_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
PACKETS_A_STATE = 50
ADDRESSES = 16_000  # until packets without ports would meet the connections of earlier ones
POLICIES = (1, 2, 3)
IDENTITIES = (1001, 1002, 2, 6, 300, 301, 1 << 24, (1 << 24) + 1)
PORTS = (0, 1, 22, 53, 79, 80, 81, 443, 1023, 1024, 8079, 8080, 32767, 32768, 65535)
TCP, UDP, SCTP, ICMP, ICMP6, GRE, VRRP = 6, 17, 132, 1, 58, 47, 112
ALLOWED, DENIED, UNKNOWN, NO_LISTENER, DENY = 0, 133, 171, 180, 181
HOST = 1
OUTSIDE = {4: "198.51.0.0", 6: "2001:db8::"}


# --- the slow reading ---------------------------------------------------------------------


def row_for(tables: Tables, policy: int, direction: Direction, proto: int, port: int) -> Row | None:
    """Return the row of the longest prefix, found by trying each."""
    for bits in range(16, -1, -1):
        row = tables.rows.get(
            RowKey(policy, direction, proto, port >> 16 - bits << 16 - bits, bits)
        )
        if row is not None and proto != Protocol.ANY:
            return row
    return tables.rows.get(RowKey(policy, direction))


def verdict(
    tables: Tables, policy: int, direction: Direction, proto: int, port: int, peer: int
) -> int:
    """Return what policy says of a first packet: a drop reason, 0 to allow."""
    if policy == 0 or (direction is Direction.INGRESS and peer == HOST):
        return ALLOWED
    row = row_for(tables, policy, direction, proto, port)
    if row is None:
        return DENIED

    def any_in(field: str) -> bool:
        return any(
            getattr(cell, field) & tables.bits.get((peer, cell.word), 0) for cell in row.cells
        )

    if row.any_deny or any_in("deny"):
        return DENY
    if row.any_l7 or any_in("l7"):
        return NO_LISTENER
    if row.any_allow or any_in("allow"):
        return ALLOWED
    return UNKNOWN if row.known_only else DENIED


# --- random states and packets ------------------------------------------------------------


def random_row(rng: random.Random) -> Row:
    words = rng.sample(range(9), rng.choice((0, 1, 1, 2, 5, 9)))
    cells = []
    for word in sorted(words):
        bits = [rng.getrandbits(4) & rng.getrandbits(4) for _ in range(3)]
        bits[1] &= rng.getrandbits(4) & rng.getrandbits(4)  # denies and L7 hide the rest
        bits[2] &= rng.getrandbits(4)
        cells.append(Cell(word, *bits))
    few = (rng.random() < 0.3, rng.random() < 0.05, rng.random() < 0.05)
    return Row(*few, tuple(cells), known_only=rng.random() < 0.3)


def random_tables(rng: random.Random) -> Tables:
    rows = {}
    for policy in POLICIES:
        for direction in Direction:
            if rng.random() < 0.8:
                rows[RowKey(policy, direction)] = random_row(rng)
            for proto in (TCP, UDP, SCTP, ICMP, ICMP6, GRE):
                for _ in range(rng.choice((0, 1, 2, 4))):
                    bits = rng.choice((0, 1, 8, 12, 15, 16, 16))
                    port = rng.choice(PORTS if proto in (TCP, UDP, SCTP) else (0, 3, 8, 128, 1))
                    key = RowKey(policy, direction, proto, port >> 16 - bits << 16 - bits, bits)
                    rows[key] = random_row(rng)
    bits = {
        (identity, word): held
        for identity in IDENTITIES
        for word in range(9)
        if (held := rng.getrandbits(4) & rng.getrandbits(4))
    }
    return Tables(rows, bits)


class Shot(NamedTuple):
    """One packet: how it comes in, and what decides about it."""

    program: str
    ifindex: int
    frame: bytes
    source: int  # identity
    target: int
    egress: int | None  # policies, None where nobody judges
    ingress: int | None
    proto: int
    port: int


def ip_frame(source: str, target: str, proto: int, body: bytes) -> bytes:
    a, b = ip_address(source), ip_address(target)
    macs = bytes.fromhex("0200000000fe020000000001")
    if isinstance(a, IPv4Address):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, proto, 0)
        return macs + b"\x08\x00" + head + a.packed + b.packed + body
    head = struct.pack("!IHBB", 6 << 28, len(body), proto, 64)
    return macs + b"\x86\xdd" + head + a.packed + b.packed + body


def body_of(proto: int, sport: int, dport: int, rng: random.Random) -> bytes:
    if proto == TCP:
        return struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, rng.choice((2, 16, 24)), 0, 0, 0)
    if proto == UDP:
        return struct.pack("!HHHH", sport, dport, 8, 0)
    if proto == SCTP:
        return struct.pack("!HHII", sport, dport, 0, 0)
    if proto in (ICMP, ICMP6):
        return struct.pack("!BBHHH", dport, 0, 0, sport, 1)
    return bytes(16)


def outside(rng: random.Random, family: int, number: int) -> tuple[str, int]:
    """Return an address that no other packet has, and its identity."""
    block = rng.randrange(4)
    base = int(ip_address(OUTSIDE[family]))
    shift = 14 if family == 4 else 94
    address = base + (block << shift) + 1 + number % ADDRESSES
    made = IPv4Address(address) if family == 4 else IPv6Address(address)
    return str(made), (2, 300, 301, 1 << 24)[block]


def outside_rows() -> dict[IpcacheKey, IpcacheInfo]:
    rows = {}
    for family, base in OUTSIDE.items():
        length, shift = (18, 14) if family == 4 else (34, 94)
        for block, identity in enumerate((2, 300, 301, 1 << 24)):
            if identity != 2:  # world is what is not listed
                network = ip_address(int(ip_address(base)) + (block << shift))
                rows[IpcacheKey(*pack_network(f"{network}/{length}"))] = IpcacheInfo(identity)
    return rows


def random_shot(rng: random.Random, kernel, worlds, held: dict[str, int], number: int) -> Shot:
    family = rng.choice((4, 6))
    world = worlds[family]
    proto = rng.choice((TCP, TCP, UDP, UDP, SCTP, ICMP if family == 4 else ICMP6, GRE, VRRP))
    ways = ["out", "in", "host"] if proto in (GRE, VRRP) else ["out", "in", "host", "pods", "pods"]
    way = rng.choice(ways)
    sport, dport = 2000 + number % 60000, rng.choice(PORTS)
    if proto in (ICMP, ICMP6):
        dport = rng.choice((8, 13, 40) if family == 4 else (128, 139, 200))
    pod, peer = rng.sample(["pod", "peer"], 2)
    devices = {"pod": kernel.pod_ifindex, "peer": kernel.peer_ifindex}
    identities = {"pod": 1001, "peer": 1002}
    body = body_of(proto, sport, dport, rng)
    port = dport if proto not in (GRE, VRRP) else 0
    if way == "pods":
        frame = ip_frame(world[pod], world[peer], proto, body)
        parties = (identities[pod], identities[peer], held[pod], held[peer])
        return Shot("from_container", devices[pod], frame, *parties, proto, port)
    address, identity = outside(rng, family, number)
    if way == "out":
        frame = ip_frame(world[pod], address, proto, body)
        parties = (identities[pod], identity, held[pod], None)
        return Shot("from_container", devices[pod], frame, *parties, proto, port)
    if way == "host":
        address, identity = world["node"], HOST
    frame = ip_frame(address, world[pod], proto, body)
    return Shot("from_host", 0, frame, identity, identities[pod], None, held[pod], proto, port)


def expected(tables: Tables, shot: Shot) -> tuple[int, int]:
    """Return (drop reason, direction) by the slow reading; zeros for a packet that passes."""
    if shot.egress is not None:
        reason = verdict(tables, shot.egress, Direction.EGRESS, shot.proto, shot.port, shot.target)
        if reason:
            return reason, int(Direction.EGRESS)
    if shot.ingress is not None:
        reason = verdict(
            tables, shot.ingress, Direction.INGRESS, shot.proto, shot.port, shot.source
        )
        if reason:
            return reason, int(Direction.INGRESS)
    return 0, 0


class Gun:
    """Fires frames at programs without the harness's bookkeeping; drops are read off the ring."""

    def __init__(self, kernel) -> None:
        self._kernel = kernel
        self._programs = {
            name: kernel.programs.open(name) for name in ("from_container", "from_host")
        }

    def fire(self, shot: Shot) -> tuple[int, int]:
        context = bytearray(192)
        context[40:44] = (shot.ifindex or self._kernel.pod_ifindex).to_bytes(4, "little")
        result = syscall.program_test_run(
            self._programs[shot.program], shot.frame, bytes(context), room=64
        )
        drops = [(e.subtype, e.direction) for e in self._kernel.ring.take()]
        assert len(drops) == (result.verdict == 2), "a drop is told, and only a drop"
        return drops[0] if drops else (0, 0)

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


def put_in_force(kernel, tables: Tables, held: dict[str, int], revision: int) -> None:
    current = kernel.policy.tables
    kernel.policy.apply(
        [
            Step(bits=tables.bits),
            Step(rows={**dict.fromkeys(set(current.rows) - set(tables.rows)), **tables.rows}),
            Step(bits=dict.fromkeys(set(current.bits) - set(tables.bits))),
        ]
    )
    names = {7: "pod", 8: "peer"}
    endpoints = kernel.store.endpoints
    endpoints.upsert(
        {
            key: replace(row, policy=held[names[row.endpoint_id]], revision=revision)
            for key, row in endpoints.current.items()
            if row.endpoint_id in names
        }
    )


def test_the_kernel_decides_as_the_tables_say(kernel, worlds, gun: Gun) -> None:
    print(f"\nseed {SEED}, {PACKETS} packets", flush=True)
    rng, begin = random.Random(SEED), time.monotonic()
    outcomes: dict[tuple[int, int], int] = {}
    for number in range(PACKETS):
        if number % PACKETS_A_STATE == 0:
            tables = random_tables(rng)
            held = {name: rng.choice((0, *POLICIES)) for name in ("pod", "peer")}
            put_in_force(kernel, tables, held, 1 + number)
        if number % ADDRESSES == ADDRESSES - 1:
            kernel.store.connections.delete_many(list(kernel.connections()))
        shot = random_shot(rng, kernel, worlds, held, number)
        wanted = expected(tables, shot)
        assert gun.fire(shot) == wanted, f"seed {SEED}, packet {number}: {shot}"
        outcomes[wanted] = outcomes.get(wanted, 0) + 1
    print(f"{PACKETS / (time.monotonic() - begin):.0f} packets/s; {outcomes}")
    directions = {int(direction) for direction in Direction}
    kinds = {(reason, way) for reason in (DENIED, UNKNOWN, NO_LISTENER, DENY) for way in directions}
    assert kinds | {(0, 0)} <= set(outcomes), f"seed {SEED}: too tame, {outcomes}"
