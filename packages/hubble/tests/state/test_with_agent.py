# SPDX-License-Identifier: Apache-2.0
"""The agent's server and hubble's follower on one socket: the contract between the two products."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilium_agent.nodestate.facts import EndpointFact, IdentityFact, NodeFact, PrefixFact
from cilium_agent.nodestate.service import serve
from cilium_agent.nodestate.state import NodeState
from cilium_core.addresses import pack_address
from cilium_hubble.state import following
from cilium_hubble.state.applying import Applier
from cilium_hubble.state.directory import Directory


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - others change what is asked
            await asyncio.sleep(0.005)


def web(endpoint_id: int, address: str) -> EndpointFact:
    return EndpointFact(endpoint_id, "shop", f"web-{endpoint_id}", 1001, ("k8s:a=b",), (address,))


async def test_the_follower_outlives_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FIRST_RETRY_SECONDS", 0.01)
    path, known = tmp_path / "nodestate.sock", Directory()
    applier = Applier(known)
    task = asyncio.create_task(following.follow(path, applier))
    await asyncio.sleep(0.05)  # no agent yet
    state = NodeState()
    state.open()
    async with serve(path, state):
        state.put(NodeFact("worker", "default"), web(1, "10.0.0.1"), IdentityFact(1001, ("x:y",)))
        await until(lambda: known.node.name == "worker")
        assert known.party(pack_address("10.0.0.1"), 0).pod == "web-1"
        state.remove(EndpointFact, 1)
        state.put(web(2, "10.0.0.1"))
        await until(lambda: known.party(pack_address("10.0.0.1"), 0).pod == "web-2")
    await asyncio.sleep(0.05)
    assert known.party(pack_address("10.0.0.1"), 0).pod == "web-2"  # the agent is away
    again = NodeState()
    again.put(NodeFact("worker", "default"), web(3, "10.0.0.3"))
    async with serve(path, again):
        await asyncio.sleep(0.1)
        assert set(known.endpoints) == {2}  # the new agent restores: nothing is forgotten
        again.open()
        await until(lambda: set(known.endpoints) == {3})
        assert not known.identities
        assert applier.epoch == again.epoch
    task.cancel()


FACTS = st.one_of(
    st.builds(web, st.integers(1, 4), st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])),
    st.builds(IdentityFact, st.integers(1, 3), st.sampled_from([("a:b",), ("c:d",)])),
    st.builds(PrefixFact, st.sampled_from(["10.1.0.0/16", "10.1.0.1/32"]), st.integers(1, 3)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "remove", "break", "turn"]), FACTS), max_size=30),
    st.integers(1, 8),
)
async def test_whatever_happens_both_ends_hold_the_same(
    tmp_path: Path, steps: list[tuple[str, object]], log: int
) -> None:
    """Puts and removals, broken streams, a log so short that resuming often fails."""
    path, known, state = tmp_path / "s.sock", Directory(), NodeState(log_changes=log)
    applier = Applier(known)
    state.open()
    async with serve(path, state):

        async def stream() -> None:
            await following._stream(path, applier)

        task = asyncio.create_task(stream())
        for what, fact in steps:
            match what:
                case "put":
                    state.put(fact)  # type: ignore[arg-type]
                case "remove":
                    state.remove(type(fact), fact.key)  # type: ignore[arg-type, attr-defined]
                case "break":
                    task.cancel()
                    task = asyncio.create_task(stream())
                case "turn":
                    await asyncio.sleep(0.002)
        await until(lambda: (applier.epoch, applier.revision) == (state.epoch, state.revision))
        task.cancel()
    facts = state.snapshot()[1]
    assert set(known.endpoints) == {f.endpoint_id for f in facts if isinstance(f, EndpointFact)}
    assert known.identities == {f.number: f.labels for f in facts if isinstance(f, IdentityFact)}
    assert {prefix: peer.identity for prefix, peer in known.prefixes.items()} == {
        f.prefix: f.identity for f in facts if isinstance(f, PrefixFact)
    }
