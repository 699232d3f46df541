# SPDX-License-Identifier: Apache-2.0
"""The stream over a real unix socket: snapshots, resumption, consumers that are slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from cilium_agent.nodestate.facts import (
    ClusterNodeFact,
    EndpointFact,
    IdentityFact,
    NodeFact,
    PolicyFact,
    PrefixFact,
    RuleFact,
    ServiceFact,
    Workload,
)
from cilium_agent.nodestate.service import PIECE, serve
from cilium_agent.nodestate.state import NodeState
from cilium_core.policy.rules import Origin
from cilium_core.proto import nodestate_pb2 as pb

DELTA, SNAPSHOT, END = pb.Update.DELTA, pb.Update.SNAPSHOT, pb.Update.SNAPSHOT_END


class Served:
    """A state behind a socket, and streams from it."""

    def __init__(self, state: NodeState, channel: grpc.aio.Channel, path: Path) -> None:
        self.state, self.path = state, path
        self._watch = channel.unary_stream(
            "/cilium.python.nodestate.v1.NodeState/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.Update.FromString,
        )

    def watch(self, epoch: str = "", revision: int = 0) -> Any:
        return self._watch(pb.WatchRequest(epoch=epoch, revision=revision))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    state, path = NodeState(log_changes=PIECE * 3), tmp_path / "nodestate.sock"
    async with serve(path, state), grpc.aio.insecure_channel(f"unix:{path}") as channel:
        yield Served(state, channel, path)


async def test_nobody_is_told_of_a_state_that_is_not_complete(served: Served) -> None:
    served.state.put(NodeFact("worker", "default"))
    stream = served.watch()
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0.05)
    assert not reading.done()
    served.state.open()
    update = await reading
    assert (update.kind, update.revision, len(update.changes)) == (END, 1, 1)
    assert served.path.stat().st_mode & 0o777 == 0o660
    stream.cancel()


async def test_an_empty_snapshot_then_each_change(served: Served) -> None:
    served.state.open()
    stream = served.watch()
    first = await stream.read()
    assert (first.kind, first.revision, list(first.changes)) == (END, 0, [])
    for number in range(3):
        served.state.put(IdentityFact(number, ("k8s:a=b",)))
        update = await stream.read()
        assert (update.kind, update.revision) == (DELTA, number + 1)
        assert update.changes[0].identity.id == number
    served.state.remove(IdentityFact, 1)
    update = await stream.read()
    assert update.changes[0] == pb.Change(identity=pb.Identity(id=1), removed=True)
    stream.cancel()


async def test_large_snapshots_come_in_pieces(served: Served) -> None:
    served.state.open()
    served.state.put(*(IdentityFact(number, ()) for number in range(2 * PIECE + 1)))
    stream = served.watch()
    updates = [await stream.read() for _ in range(3)]
    assert [update.kind for update in updates] == [SNAPSHOT, SNAPSHOT, END]
    assert [len(update.changes) for update in updates] == [PIECE, PIECE, 1]
    assert {update.revision for update in updates} == {2 * PIECE + 1}
    stream.cancel()


async def test_a_consumer_resumes_and_gets_what_lived_meanwhile(served: Served) -> None:
    served.state.open()
    served.state.put(IdentityFact(1, ()))
    stream = served.watch()
    first = await stream.read()
    stream.cancel()
    short_lived = PrefixFact("10.0.0.9/32", 1000, "ns", "job")
    served.state.put(short_lived)
    served.state.remove(PrefixFact, short_lived.key)
    again = served.watch(first.epoch, first.revision)
    update = await again.read()
    assert (update.kind, update.revision) == (DELTA, 3)
    assert [(c.prefix.pod, c.removed) for c in update.changes] == [("job", False), ("", True)]
    again.cancel()


@pytest.mark.parametrize("epoch", ["", "another"])
async def test_another_epoch_is_a_snapshot(served: Served, epoch: str) -> None:
    served.state.open()
    served.state.put(IdentityFact(1, ()))
    stream = served.watch(epoch, 1)
    assert (await stream.read()).kind == END
    stream.cancel()


async def test_a_log_that_has_gone_on_is_a_snapshot(served: Served) -> None:
    served.state.open()
    for number in range(PIECE * 3 + 5):
        served.state.put(IdentityFact(7, (str(number),)))
    for revision, kind in ((4, END), (5, DELTA)):
        stream = served.watch(served.state.epoch, revision)
        assert (await stream.read()).kind == kind
        stream.cancel()


async def test_a_consumer_that_does_not_read_is_caught_up_in_the_end(served: Served) -> None:
    served.state.open()
    stream = served.watch()
    await stream.read()
    for number in range(20 * PIECE):
        served.state.put(IdentityFact(number % 50, (f"k8s:n={number}",) * 20))
        if number % PIECE == 0:
            await asyncio.sleep(0)
    held: dict[int, str] = {}
    while True:
        update = await stream.read()
        for change in update.changes:
            held[change.identity.id] = change.identity.labels[0]
        if update.revision == served.state.revision and update.kind != SNAPSHOT:
            break
    last = range(19 * PIECE + PIECE - 50, 20 * PIECE)
    assert held == {number % 50: f"k8s:n={number}" for number in last}
    stream.cancel()


async def test_every_kind_of_fact_in_full(served: Served) -> None:
    served.state.open()
    web = Workload("Deployment", "web")
    origin = Origin("CiliumNetworkPolicy", "ns", "p", "spec.ingress[0]")
    rule = RuleFact(1, True, ((6, 80, 90),), ((1, 1 << 63),), origin)
    facts = [
        NodeFact("worker", "default", ("a=b",)),
        ClusterNodeFact("other", "172.30.0.12"),
        EndpointFact(7, "shop", "web-1", 1001, ("k8s:a=b",), ("10.0.0.1", "fd00::1"), web),
        IdentityFact(1001, ("k8s:a=b",)),
        PrefixFact("10.0.0.2/32", 1002, "ns", "pod", web),
        ServiceFact(4, "ns", "svc", (("10.96.0.1", 80, 6),)),
        PolicyFact(3, 9, (rule, RuleFact(2, False, (), None, origin))),
    ]
    served.state.put(*facts)
    stream = served.watch()
    update = await stream.read()
    message = pb.Origin(kind=origin.kind, namespace="ns", name="p", field=origin.field)
    workload = pb.Workload(kind="Deployment", name="web")
    endpoint = pb.Endpoint(
        id=7,
        namespace="shop",
        pod="web-1",
        identity=1001,
        labels=["k8s:a=b"],
        addresses=["10.0.0.1", "fd00::1"],
        workload=workload,
    )
    rules = [
        pb.Rule(
            direction=1,
            deny=True,
            ports=[pb.Ports(protocol=6, first=80, last=90)],
            peers=[pb.PeerBits(word=1, mask=1 << 63)],
            origin=message,
        ),
        pb.Rule(direction=2, any_peer=True, origin=message),
    ]
    assert list(update.changes) == [
        pb.Change(node=pb.Node(name="worker", cluster="default", labels=["a=b"])),
        pb.Change(cluster_node=pb.ClusterNode(name="other", address="172.30.0.12")),
        pb.Change(endpoint=endpoint),
        pb.Change(identity=pb.Identity(id=1001, labels=["k8s:a=b"])),
        pb.Change(
            prefix=pb.Prefix(
                prefix="10.0.0.2/32", identity=1002, namespace="ns", pod="pod", workload=workload
            )
        ),
        pb.Change(
            service=pb.Service(
                id=4,
                namespace="ns",
                name="svc",
                frontends=[pb.Frontend(address="10.96.0.1", port=80, protocol=6)],
            )
        ),
        pb.Change(policy=pb.Policy(number=3, revision=9, rules=rules)),
    ]
    for fact in facts[1:]:
        served.state.remove(type(fact), fact.key)
    gone = [change for change in (await stream.read()).changes]
    while len(gone) < 6:
        gone += (await stream.read()).changes
    assert [change.ByteSize() for change in gone] == [
        pb.Change(cluster_node=pb.ClusterNode(name="other"), removed=True).ByteSize(),
        pb.Change(endpoint=pb.Endpoint(id=7), removed=True).ByteSize(),
        pb.Change(identity=pb.Identity(id=1001), removed=True).ByteSize(),
        pb.Change(prefix=pb.Prefix(prefix="10.0.0.2/32"), removed=True).ByteSize(),
        pb.Change(service=pb.Service(id=4), removed=True).ByteSize(),
        pb.Change(policy=pb.Policy(number=3, revision=9), removed=True).ByteSize(),
    ]
    stream.cancel()
