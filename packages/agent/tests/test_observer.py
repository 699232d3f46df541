# SPDX-License-Identifier: Apache-2.0
"""What the agent's status says of hubble: off, starting, answering, silent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from agent_fakes import until

from cilium_agent.dbg import status as text
from cilium_agent.observer import STARTING_SECONDS, ObserverState, ask, watch
from cilium_core.proto import observer_pb2 as pb

ANSWER = pb.ServerStatusResponse(
    num_flows=100, max_flows=400, seen_flows=3000, uptime_ns=60 * 10**9, version="x"
)


async def serving(path: Path) -> grpc.aio.Server:
    async def answer(_request: Any, _context: Any) -> pb.ServerStatusResponse:
        return ANSWER

    method = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=pb.ServerStatusRequest.FromString,
        response_serializer=pb.ServerStatusResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("observer.Observer", {"ServerStatus": method}),)
    )
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server


async def test_an_answer_is_the_status(tmp_path: Path) -> None:
    server = await serving(tmp_path / "hubble.sock")
    state = ObserverState(True, time.monotonic(), await ask(tmp_path / "hubble.sock"))
    await server.stop(None)
    reply = {"hubble": state.status(), "hubble-metrics": {"state": "Ok"}}
    assert text._hubble(reply) == (
        "Ok   Current/Max Flows: 100/400 (25.00%), Flows/s: 50.00   Metrics: Ok"
    )
    assert text._monitor(state.monitor()).startswith("Listening for events on ")


async def test_silence_is_pending_first_and_a_warning_later(tmp_path: Path) -> None:
    state = ObserverState(True, time.monotonic())
    task = asyncio.create_task(watch(state, tmp_path / "nobody.sock"))
    await until(lambda: bool(state.error))
    assert state.status()["state"] == "Pending"
    state.since -= STARTING_SECONDS
    assert state.status() == {
        "state": "Warning",
        "msg": "hubble does not answer: UNAVAILABLE",
    }
    assert state.monitor() == {"state": "Disabled"}
    task.cancel()


async def test_without_hubble_nobody_is_asked(tmp_path: Path) -> None:
    state = ObserverState(False, time.monotonic())
    await asyncio.wait_for(watch(state, tmp_path / "nobody.sock"), 1)
    assert state.status() == {"state": "Disabled"}
