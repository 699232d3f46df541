# SPDX-License-Identifier: Apache-2.0
"""Relay over simulated nodes: flows merged a second, order, and the time that merging adds.

The nodes are another process on another core; what is timed is relay's own: reading, merging and,
for the edges, sending. A single node's stream, read without a merge, is the baseline. No root.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import structlog

from bench.report import Result, bound, rate
from cilium_core.proto.observer_pb2 import GetFlowsRequest
from cilium_hubble.relay.dialing import Dialer
from cilium_hubble.relay.merging import Merge
from cilium_hubble.relay.nodes import Pool
from cilium_hubble.relay.service import Relay, handlers
from cilium_hubble.relay.sorter import Piece
from cilium_hubble.relay.source import arrivals

ROUNDS = 5
TOTAL = 400_000  # flows of all nodes in a round
BATCH = 256  # what a node's reader takes at a time
LIMIT = 4096
PATIENCE = 1.0
FOLLOW_SECONDS = 4.0
RATE_TARGET = 100_000.0
LATENCY_TARGET_MS = 50.0
EDGE_FLOWS = 100_000


@asynccontextmanager
async def _nodes(count: int, flows: int, batch: int = BATCH) -> AsyncIterator[Pool]:
    """Run `count` nodes with `flows` each and a pool that is connected to them."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/nodes.sock"
        command = [sys.executable, "-m", "bench.relay_nodes", socket, str(flows), str(batch)]
        root = Path(__file__).parents[1]
        process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything is timed
            command, cwd=root, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            async with asyncio.TaskGroup() as tasks:
                pool = Pool(Dialer(None), tasks)
                for number in range(count):
                    pool.put(f"node-{number}", f"unix:{socket}", "")
                while len(pool.connected()) < count:
                    await pool.wait(pool.version)
                yield pool
                for name in list(pool.nodes):
                    pool.remove(name)
        finally:
            process.kill()
            process.wait()


class _Round:
    """What one merged request took."""

    def __init__(self) -> None:
        self.flows = 0
        self.inversions = 0
        self.wall = 0.0
        self.cpu = 0.0


async def _merge(pool: Pool) -> _Round:
    made, last = _Round(), 0
    wall, cpu = time.perf_counter(), time.process_time()
    merge = Merge(pool, GetFlowsRequest(), "relay", LIMIT, PATIENCE)
    async with aclosing(merge.pieces()) as pieces:
        async for piece in pieces:
            if isinstance(piece, Piece):
                made.flows += len(piece)
                made.inversions += int(piece.times[0]) < last
                made.inversions += int(np.count_nonzero(np.diff(piece.times) < 0))
                last = int(piece.times[-1])
    made.wall, made.cpu = time.perf_counter() - wall, time.process_time() - cpu
    return made


async def _baseline(pool: Pool, flows: int) -> float:
    """Return flows/s of one node's stream that is only read."""
    (node,) = pool.nodes.values()
    count, wall = 0, time.perf_counter()
    async with aclosing(arrivals(node.channel, GetFlowsRequest())) as coming:
        async for arrival in coming:
            count += len(arrival.piece)
    if count != flows:
        raise AssertionError(f"{flows} sent, {count} read")
    return count / (time.perf_counter() - wall)


async def _throughput(count: int) -> list[Result]:
    flows = TOTAL // count
    async with _nodes(count, flows) as pool:
        rounds = [await _merge(pool) for _ in range(ROUNDS)]
    for one in rounds:
        if one.flows != flows * count:
            raise AssertionError(f"{flows * count} sent, {one.flows} merged")
    rates = [one.flows / one.wall for one in rounds]
    cpu = float(np.median([1e6 * one.cpu / one.flows for one in rounds]))
    target = RATE_TARGET if count == 10 else None
    return [
        rate(f"flows merged, {count} nodes", rates, target, f"{cpu:.1f} µs of CPU a flow"),
        bound(
            f"order inversions, {count} nodes",
            [float(sum(one.inversions for one in rounds))],
            "",
            at_most=0,
            note=f"of {sum(one.flows for one in rounds)} flows",
        ),
    ]


async def _single() -> Result:
    flows = TOTAL // 4
    async with _nodes(1, flows) as pool:
        rates = [await _baseline(pool, flows) for _ in range(ROUNDS)]
    return rate("flows read from one node, no merge", rates, None, "the baseline")


async def _latency(name: str, active: int, batch: int) -> Result:
    """Return the p99 of the time from a flow's making to its leaving the merge."""
    late: list[int] = []
    async with _nodes(10, 1, batch) as pool:
        quiet = {node.name for node in pool.connected()[active:]}
        merge = _Quiet(pool, GetFlowsRequest(follow=True), "relay", LIMIT, PATIENCE)
        merge.quiet = quiet
        end = time.monotonic() + FOLLOW_SECONDS
        async with aclosing(merge.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Piece):
                    late += (time.time_ns() - piece.times).tolist()
                if time.monotonic() > end:
                    break
    ms = float(np.percentile(late, 99)) / 1e6
    middle = float(np.median(late)) / 1e6
    rate = len(late) / FOLLOW_SECONDS
    return bound(name, [ms], "ms", LATENCY_TARGET_MS, f"median {middle:.1f} ms, {rate:.0f} flows/s")


class _Quiet(Merge):
    """Asks some of the nodes to have nothing."""

    quiet: set[str]

    def _request_to(self, node: object) -> GetFlowsRequest:
        name = str(getattr(node, "name", ""))
        return GetFlowsRequest(follow=True, number=int(name in self.quiet))


async def _edge(name: str, path: str) -> Result:
    """Return flows/s that one client of relay's gets, itself a process."""
    async with _nodes(10, EDGE_FLOWS // 10) as pool:
        relay = Relay(pool, "relay", LIMIT, PATIENCE, encrypted=False)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(tuple(handlers(relay)))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        rates = [await asyncio.to_thread(_client, port, path) for _ in range(3)]
        await server.stop(0)
    return rate(name, rates, None, "client, relay and nodes on these cores")


_CLIENT = """
import sys, time, grpc
from cilium_core.proto.batches_pb2 import Batch
from cilium_core.proto.observer_pb2 import GetFlowsRequest
port, path = sys.argv[1:]
options = [("grpc.max_receive_message_length", -1)]
with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
    batched = "cilium.python" in path
    call = channel.unary_stream(path, request_serializer=GetFlowsRequest.SerializeToString,
        response_deserializer=Batch.FromString if batched else None)
    count, start = 0, time.perf_counter()
    for one in call(GetFlowsRequest()):
        count += len(one.responses) if batched else 1
    print(count, time.perf_counter() - start)
"""


def _client(port: int, path: str) -> float:
    command = [sys.executable, "-c", _CLIENT, str(port), path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, seconds = done.stdout.split()
    if int(count) < EDGE_FLOWS:
        raise AssertionError(f"{EDGE_FLOWS} sent, {count} got")
    return int(count) / float(seconds)


async def _all() -> list[Result]:
    results = [await _single()]
    for count in (10, 100, 1000):
        results += await _throughput(count)
    results.append(await _latency("time added, p99, 10 nodes", 10, 10))
    results.append(await _latency("time added, p99, 9 of 10 nodes quiet", 1, 10))
    batched = "/cilium.python.batches.v1.FlowBatches/GetFlows"
    results.append(await _edge("flows to one client, in batches", batched))
    results.append(
        await _edge("flows to one client, upstream's way", "/observer.Observer/GetFlows")
    )
    return results


def measure() -> list[Result]:
    """Measure; the figures for the suite `hubble`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return asyncio.run(_all())
