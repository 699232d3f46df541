# SPDX-License-Identifier: Apache-2.0
"""Hubble on one core: events from a ring's memory to stored flows, and from there to messages.

The ring is ordinary memory laid out as the kernel's, filled between the timed parts, so that the
figures are hubble's own: reading, naming, counting, storing, nothing lost. What the whole daemon
keeps up with on the kernel's own ring is `hubble_ring`'s. Run while the machine is quiet, as root.
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import hubble_cost, hubble_ring
from bench.report import Result, publish, rate
from cilium_core.addresses import pack_address
from cilium_core.layouts.events import EventType
from cilium_core.proto.flow_pb2 import DROPPED, FlowFilter
from cilium_hubble.filters.compiling import compile_lists
from cilium_hubble.flowmetrics.all import FlowMetrics
from cilium_hubble.flows.build import FlowBuilder
from cilium_hubble.flows.chunk import Chunk, Names
from cilium_hubble.flows.ids import FlowIds
from cilium_hubble.flows.ingest import Ingest
from cilium_hubble.flows.store import Store
from cilium_hubble.kernel.dtypes import EVENT, Rows
from cilium_hubble.kernel.ring import SLOT, STRIDE, Ring
from cilium_hubble.state.directory import Directory, Endpoint, Peer
from cilium_hubble.state.model import Node

ROUNDS = 10
EVENTS = 200_000  # a round
RING_BYTES = 1 << 21
PODS = 100
PEERS = 2_000
RATE_TARGET = 50_000.0
_SEED = 7


class _SyntheticRing:
    """A RingMemory that is filled by whole batches, the records at their places as the kernel's."""

    def __init__(self) -> None:
        self.size = RING_BYTES
        self.data: NDArray[np.uint8] = np.zeros(2 * RING_BYTES, "u1")
        self.producer: NDArray[np.uint64] = np.zeros(1, "u8")
        self.consumer: NDArray[np.uint64] = np.zeros(1, "u8")

    def put(self, events: Rows) -> int:
        """Write as many of the events as fit; return how many did."""
        position = int(self.producer[0])
        room = self.size - (position - int(self.consumer[0]))
        count = min(len(events), (room - 1) // STRIDE)
        slots = np.zeros(count, SLOT)
        slots["length"] = EVENT.itemsize
        slots["event"] = events[:count]
        raw = slots.view("u1").ravel()
        start = position % self.size
        first = min(len(raw), self.size - start)
        for half in (0, self.size):
            self.data[half + start : half + start + first] = raw[:first]
            self.data[half : half + len(raw) - first] = raw[first:]
        self.producer[0] = position + len(raw)
        return count


def _directory() -> Directory:
    known = Directory()
    known.put_node(Node("bench"))
    labels = ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop")
    for number in range(PODS):
        known.put_identity(1000 + number, labels)
        address = pack_address(f"10.0.0.{number + 1}")
        known.put_endpoint(
            Endpoint(number, "shop", f"web-{number}", 1000 + number, labels, (address,))
        )
    for number in range(PEERS):
        prefix = f"10.1.{number // 256}.{number % 256}/32"
        known.put_prefix(prefix, Peer(1000 + number % PODS, "shop", f"peer-{number}"))
    return known


def _events() -> Rows:
    """Return a mix: half traces, the rest verdicts and drops, ephemeral ports, many peers."""
    rng = np.random.default_rng(_SEED)
    made: Rows = np.zeros(EVENTS, EVENT)
    made["type"] = rng.choice(
        [EventType.TRACE, EventType.POLICY_VERDICT, EventType.DROP], EVENTS, p=[0.5, 0.3, 0.2]
    )
    made["subtype"][made["type"] == EventType.DROP] = 133
    made["proto"], made["state"], made["direction"] = 6, 1, 1
    made["time"] = np.arange(EVENTS)
    made["sport"], made["dport"] = rng.integers(32768, 65535, EVENTS), 80
    pods, peers = rng.integers(0, PODS, EVENTS), rng.integers(0, PEERS, EVENTS)
    for side in ("source", "destination"):
        made[side][:, 10:12], made[side][:, 12] = 0xFF, 10
    made["source"][:, 13], made["source"][:, 14] = 1, peers // 256
    made["source"][:, 15], made["destination"][:, 15] = peers % 256, pods + 1
    made["source_identity"], made["destination_identity"] = 1000 + peers % PODS, 1000 + pods
    made["policy"], made["revision"], made["bits"] = pods, 5, 1
    return made


class _Hubble:
    """The daemon's parts from the ring to the store."""

    def __init__(self) -> None:
        self.memory = _SyntheticRing()
        self.ring = Ring(self.memory)
        self.ingest = Ingest(Store(65535), _directory())
        self.counts = FlowMetrics((), _names(self.ingest, Node("bench")))

    def round(self, events: Rows, batch: int) -> float:
        """Take all events through, `batch` at a time; return the CPU seconds of hubble's part."""
        spent, sent, before = 0.0, 0, self.ring.seen
        while sent < len(events):
            sent += self.memory.put(events[sent:])
            start = time.thread_time()
            while len(taken := self.ring.read(batch)):
                self.counts.add(self.ingest.add(taken))
            spent += time.thread_time() - start
        if self.ring.seen - before != len(events):
            raise AssertionError(f"{len(events)} sent, {self.ring.seen - before} seen")
        return spent


def _ingest(events: Rows) -> list[Result]:
    results = []
    for batch, note in ((4096, "a busy ring"), (500, "50 000/s read every 10 ms")):
        hubble = _Hubble()
        samples = [len(events) / hubble.round(events, batch) for _ in range(ROUNDS)]
        name = f"events decoded and stored, batches of {batch}"
        results.append(rate(name, samples, RATE_TARGET, f"{note}; sent = seen"))
    return results


def _names(ingest: Ingest, node: Node) -> Names:
    return Names(
        ingest.parties,
        ingest.services,
        ingest.origins,
        FlowIds(),
        lambda _i: "",
        lambda: node,
        ingest.payloads,
        ingest.fqdns,
    )


def _queries(events: Rows) -> list[Result]:
    hubble = _Hubble()
    hubble.round(events, 4096)
    ingest, store = hubble.ingest, hubble.ingest.store
    node = Node("bench")
    names = _names(ingest, node)
    builder = FlowBuilder(names)
    chunk = Chunk.of(store.read(store.next_sequence - 4096, store.next_sequence), 0)
    wanted = [FlowFilter(source_pod=["shop/peer-1"], verdict=[DROPPED], destination_port=["80"])]
    check = compile_lists(wanted, [], names)

    def built() -> int:
        return sum(1 for response in builder.responses(chunk) if response.SerializeToString())

    built_rates = [_timed(built) for _ in range(ROUNDS)]
    filtered = [_timed(lambda: len(check(chunk))) for _ in range(ROUNDS)]
    return [
        rate("flows made into messages", built_rates, None, "serialised"),
        rate("flows filtered", filtered, None, "pod, verdict and port"),
    ]


def responses(count: int) -> list[bytes]:
    """Return serialised responses as a node sends them."""
    hubble = _Hubble()
    events = _events()[:count]
    hubble.round(events, 4096)
    ingest, store = hubble.ingest, hubble.ingest.store
    node = Node("bench")
    names = _names(ingest, node)
    chunk = Chunk.of(store.read(0, count), 0)
    return [one.SerializeToString() for one in FlowBuilder(names).responses(chunk)]


def _timed(action: Any) -> float:
    start = time.thread_time()
    count: int = action()
    return count / (time.thread_time() - start)


def run() -> None:
    """Measure and publish."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        events = _events()
        results = [*_ingest(events), *_queries(events)]
    finally:
        os.sched_setaffinity(0, cores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.append(
        Result("largest resident size", round(peak), "MiB", better="lower", note="this process")
    )
    from bench import relay  # its nodes' process imports this module

    found = [*hubble_ring.measure(), *hubble_cost.measure()]
    publish("hubble", [*found, *results, *relay.measure()])


if __name__ == "__main__":
    run()
