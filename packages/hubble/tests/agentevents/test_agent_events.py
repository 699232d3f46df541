# SPDX-License-Identifier: Apache-2.0
"""What the agent does, from its stream to the API and the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hubble_fakes import Node1

from cilium_core.proto import flow_pb2 as flow
from cilium_core.proto import nodestate_pb2 as state
from cilium_core.proto import observer_pb2 as pb
from cilium_hubble.agentevents.log import EventLog
from cilium_hubble.agentevents.noting import Notes
from cilium_hubble.cli.main import main
from cilium_hubble.observer.events import Events
from cilium_hubble.observer.server import serve
from cilium_hubble.observer.service import Observer, handler
from cilium_hubble.state.applying import Applier
from cilium_hubble.state.directory import Directory

WEB = state.Endpoint(id=7, namespace="shop", pod="web-1", identity=1001, labels=["k8s:a=b"])
POD = state.Prefix(prefix="10.0.1.2/32", identity=77, namespace="shop", pod="web-2")
SERVICE = state.Service(
    id=4,
    namespace="ns",
    name="svc",
    frontends=[state.Frontend(address="10.96.0.1", port=80, protocol=6)],
)


def policy(revision: int, *names: str) -> state.Change:
    """Return policy 3 with a rule of each object."""
    rules = [
        state.Rule(
            direction=1,
            any_peer=True,
            origin=state.Origin(kind="NetworkPolicy", namespace="ns", name=name, field=str(index)),
        )
        for index, name in enumerate(names)
    ]
    return state.Change(policy=state.Policy(number=3, revision=revision, rules=rules))


class Agent:
    """Says what an agent would."""

    def __init__(self) -> None:
        self.known = Directory()
        self.log = EventLog(100)
        self.applier = Applier(self.known, Notes(self.known, self.log))
        self._revision = 0

    def tell(
        self, *changes: state.Change, kind: int = state.Update.DELTA, epoch: str = "e"
    ) -> None:
        self._revision += 1
        self.applier.apply(
            state.Update(epoch=epoch, revision=self._revision, kind=kind, changes=changes)  # type: ignore[arg-type]
        )

    def snapshot(self, *changes: state.Change, epoch: str = "e") -> None:
        self.tell(*changes, kind=state.Update.SNAPSHOT_END, epoch=epoch)

    async def said(self, **fields: Any) -> list[flow.AgentEvent]:
        request = pb.GetAgentEventsRequest(**fields)
        return [entry.event async for entry in self.log.entries(request)]

    async def kinds(self, **fields: Any) -> list[str]:
        return [flow.AgentEventType.Name(one.type) for one in await self.said(**fields)]


async def test_what_was_there_before_is_no_event() -> None:
    agent = Agent()
    agent.snapshot(state.Change(endpoint=WEB), state.Change(prefix=POD), policy(1, "p"))
    assert await agent.said() == []


async def test_each_kind() -> None:
    agent = Agent()
    agent.snapshot()
    for change in (state.Change(endpoint=WEB), state.Change(prefix=POD)):
        agent.tell(change)
        agent.tell(change)  # the same again is no event
    moved = state.Prefix()
    moved.CopyFrom(POD)
    moved.identity = 78
    other = state.Endpoint()
    other.CopyFrom(WEB)
    other.labels.append("k8s:c=d")
    agent.tell(state.Change(prefix=moved), state.Change(endpoint=other))
    agent.tell(state.Change(service=SERVICE))
    agent.tell(
        state.Change(endpoint=state.Endpoint(id=7), removed=True),
        state.Change(prefix=state.Prefix(prefix="10.0.1.2/32"), removed=True),
        state.Change(service=state.Service(id=4), removed=True),
    )
    assert await agent.kinds() == [
        "ENDPOINT_CREATED",
        "IPCACHE_UPSERTED",
        "IPCACHE_UPSERTED",
        "ENDPOINT_REGENERATE_SUCCESS",
        "SERVICE_UPSERTED",
        "ENDPOINT_DELETED",
        "IPCACHE_DELETED",
        "SERVICE_DELETED",
    ]
    said = await agent.said()
    created = said[0].endpoint_update
    assert (created.id, created.namespace, created.pod_name) == (7, "shop", "web-1")
    assert (said[2].ipcache_update.identity, said[2].ipcache_update.old_identity.value) == (78, 77)
    assert said[4].service_upsert.frontend_address.ip == "10.96.0.1"
    assert said[5].endpoint_update.pod_name == "web-1"


async def test_policies_are_told_by_object() -> None:
    agent = Agent()
    agent.snapshot()
    agent.tell(policy(5, "a", "b", "b"))
    agent.tell(policy(6, "a", "b", "b"))  # a revision of others' making
    agent.tell(policy(7, "a"))
    agent.tell(state.Change(policy=state.Policy(number=3, revision=5), removed=True))
    said = [(one.type, one.policy_update) for one in await agent.said()]
    names = [(kind, update.labels[1].rpartition("=")[2]) for kind, update in said]
    updated, deleted = flow.POLICY_UPDATED, flow.POLICY_DELETED
    assert names == [(updated, "a"), (updated, "b"), (deleted, "b")]
    assert [update.rule_count for _, update in said] == [1, 2, 0]
    assert [update.revision for _, update in said] == [5, 5, 7]
    assert said[0][1].labels == [
        "k8s:io.cilium.k8s.policy.derived-from=NetworkPolicy",
        "k8s:io.cilium.k8s.policy.name=a",
        "k8s:io.cilium.k8s.policy.namespace=ns",
    ]


async def test_an_agent_that_began_anew_and_what_it_lacks_now() -> None:
    agent = Agent()
    agent.snapshot(state.Change(endpoint=WEB), state.Change(prefix=POD))
    agent.snapshot(state.Change(endpoint=WEB), epoch="f")
    assert await agent.kinds() == ["AGENT_STARTED", "IPCACHE_DELETED"]
    assert (await agent.said())[0].agent_start.time.seconds > 0


async def test_which_and_how_many() -> None:
    agent = Agent()
    agent.snapshot()
    for number in range(5):
        agent.tell(state.Change(prefix=state.Prefix(prefix=f"10.0.0.{number}/32", identity=9)))

    def hosts(events: list[flow.AgentEvent]) -> list[int]:
        return [int(one.ipcache_update.cidr[7]) for one in events]

    assert hosts(await agent.said(number=2)) == [3, 4]
    assert hosts(await agent.said(number=2, first=True)) == [0, 1]
    middle = pb.GetAgentEventsRequest().since
    middle.FromNanoseconds(agent.log._held[2].time)
    assert hosts(await agent.said(since=middle))[-3:] == [2, 3, 4]
    assert 2 in hosts(await agent.said(until=middle))
    following = agent.log.entries(pb.GetAgentEventsRequest(follow=True, number=1))
    assert hosts([(await anext(following)).event]) == [4]
    coming = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    agent.tell(state.Change(prefix=state.Prefix(prefix="10.0.0.9/32", identity=9)))
    assert hosts([(await coming).event]) == [9]
    await following.aclose()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Agent, Path]]:
    node, agent = Node1(), Agent()
    events = Events(agent.log, lambda: node.directory.node)
    path = tmp_path / "hubble.sock"
    observer = Observer(node.ingest, node.names)
    async with serve(path, [handler(observer, events.methods())]):
        yield agent, path


async def test_the_command(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    agent, path = served

    async def run(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, ["observe", *words, "--server", f"unix://{path}"])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    agent.snapshot()
    agent.tell(state.Change(endpoint=WEB), policy(5, "a"), state.Change(service=SERVICE))
    code, out, _ = await run("agent-events", "--print-node-name")
    lines = [line.partition(" [default/worker]: ")[2] for line in out.splitlines()]
    labels = (
        "k8s:io.cilium.k8s.policy.derived-from=NetworkPolicy,k8s:io.cilium.k8s.policy.name=a,"
        "k8s:io.cilium.k8s.policy.namespace=ns"
    )
    assert code == 0
    assert lines == [
        "ENDPOINT_CREATED (id: 7, namespace: shop, pod name: web-1)",
        f"POLICY_UPDATED (labels: [{labels}], revision: 5, count: 1)",
        "SERVICE_UPSERTED (id: 4, frontend: 10.96.0.1:80, namespace: ns, name: svc)",
    ]
    code, out, _ = await run("agent-events", "--last", "1", "-o", "json")
    assert code == 0
    assert '"SERVICE_UPSERTED"' in out
    code, out, _ = await run("agent-events", "-o", "table")
    assert out.splitlines()[0].split() == ["TIMESTAMP", "TYPE", "DETAILS"]
    assert await run("debug-events") == (0, "", "")
    code, _, err = await run("agent-events", "--verdict", "DROPPED")
    assert code == 1
    assert "agent-events: takes no filters" in err


async def test_a_bad_request_is_refused(served: Any) -> None:
    _, path = served
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        method = channel.unary_stream(
            "/observer.Observer/GetAgentEvents",
            request_serializer=pb.GetAgentEventsRequest.SerializeToString,
            response_deserializer=pb.GetAgentEventsResponse.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in method(pb.GetAgentEventsRequest(first=True, follow=True)):
                pass
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "first" in str(caught.value.details())
