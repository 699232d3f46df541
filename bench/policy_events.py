# SPDX-License-Identifier: Apache-2.0
"""What an event costs the packet that it is about: the same packets with it on and off."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable

from bench.datapath_node import POD_V4, Bench
from bench.policy_rules import PORT, Switch, of_many_endpoints
from bench.report import Result, bound
from cilium_agent.datapath import syscall
from cilium_agent.datapath.reporting import ALL_EVENTS, report_events
from cilium_core.layouts.events import Event, EventType
from cilium_core.policy.rules import Direction, Protocol
from cilium_core.policy.tables import Row, RowKey

ROUNDS = 15
REPEAT = 20_000  # whose events the ring holds
HOPS = 250  # a packet to a pod loses one each time
GATEWAY = "02:00:00:00:00:fe"
WORLD = "198.51.100.1"


class Ring:
    """The event ring's two positions, to count and throw away."""

    def __init__(self, fd: int) -> None:
        """Map them; `fd` may be closed before this is."""
        self._consumer = mmap.mmap(fd, mmap.PAGESIZE, offset=0)
        self._producer = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)

    def drain(self) -> int:
        """Return how many records were waiting."""
        (begin,) = struct.unpack_from("=Q", self._consumer)
        (end,) = struct.unpack_from("=Q", self._producer)
        struct.pack_into("=Q", self._consumer, 0, end)
        return int(end - begin) // (Event.SIZE + 8)

    def close(self) -> None:
        """Unmap them."""
        self._consumer.close()
        self._producer.close()


def _frames() -> dict[str, tuple[bytes, EventType]]:
    from scapy.layers.inet import ICMP, IP, TCP
    from scapy.layers.l2 import Ether

    def frame(body: object, to: str = WORLD) -> bytes:
        return bytes(Ether(dst=GATEWAY) / IP(src=POD_V4[0], dst=to) / body)

    # An ICMP message other than echo opens nothing: it is judged and told each time.
    judged = frame(ICMP(type=13))
    denied = frame(TCP(sport=4000, dport=PORT + 1, flags="S"), POD_V4[1])
    return {
        "verdict": (judged, EventType.POLICY_VERDICT),
        "trace": (judged, EventType.TRACE),
        "drop": (denied, EventType.DROP),
    }


def _known() -> bytes:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    packet = IP(src=POD_V4[0], dst=POD_V4[1], ttl=255) / TCP(sport=4001, dport=PORT, flags="A")
    return bytes(Ether(dst=GATEWAY) / packet)


class _Tests:
    """Test runs of the program at the pod, with the ring emptied before and after."""

    def __init__(self, bench: Bench) -> None:
        self._store = bench.store
        self._ring = Ring(bench.store.events.fd)
        self._fd = bench.programs.open("from_container")
        context = bytearray(192)
        context[40:44] = bench.endpoints[0].host_ifindex.to_bytes(4, "little")
        self._context = bytes(context)

    def cost(self, frame: bytes, events: Iterable[EventType], repeat: int) -> tuple[float, float]:
        """Return nanoseconds and events of a packet while these events are on."""
        report_events(self._store, events)
        self._ring.drain()
        run = syscall.program_test_run(self._fd, frame, self._context, repeat)
        return float(run.duration_ns), self._ring.drain() / repeat

    def close(self) -> None:
        self._ring.close()
        os.close(self._fd)


def measure(bench: Bench, switch: Switch) -> list[Result]:
    """Return the nanoseconds of each kind of event, and of silence while events are on."""
    opened = RowKey(1, Direction.EGRESS, Protocol.ICMP)
    switch.to({**of_many_endpoints(1000), opened: Row(any_allow=True)})
    tests = _Tests(bench)
    found = []
    with bench.node.entered():
        for name, (frame, event) in _frames().items():
            more, each = [], 0.0
            for _ in range(ROUNDS):
                (off, none), (on, each) = (
                    tests.cost(frame, events, REPEAT) for events in ((), (event,))
                )
                if none or each < 1:
                    raise SystemExit(f"{name}: {none} events a packet when off, {each} when on")
                more.append((on - off) / each)
            found.append(bound(f"one {name} event", more, "ns", note=f"{each:g} a packet"))
        found.append(_silence(tests))
    tests.close()
    return found


def _silence(tests: _Tests) -> Result:
    """What all events on cost a packet of a known connection, of which nothing is told."""
    frame = _known()
    tests.cost(frame, (), HOPS)
    more = []
    for _ in range(20 * ROUNDS):
        (off, _), (on, each) = (tests.cost(frame, events, HOPS) for events in ((), ALL_EVENTS))
        more.append(on - off)
    note = "two policies, IPv4; traces are told every 5 s"
    return bound("known connection, all events on", more, "ns/packet more", note=note)
