# SPDX-License-Identifier: Apache-2.0
"""How the hubble container beside this agent fares, asked over its socket now and then.

What it answers is for `status` only: nothing of the agent waits for it.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cilium_core.layouts.events import RING_BYTES
from cilium_core.proto import observer_pb2

METHOD = "/observer.Observer/ServerStatus"
ASK_SECONDS = 2.0
EVERY_SECONDS = 10.0
STARTING_SECONDS = 60.0  # how long it may take to answer first
PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(slots=True)
class ObserverState:
    """The last answer; `error` is why there was none. Not `enabled`: nobody is asked."""

    enabled: bool
    since: float
    answer: observer_pb2.ServerStatusResponse | None = None
    error: str = ""

    def status(self) -> dict[str, Any]:
        """Return the `hubble` section of the status; upstream's keys."""
        if not self.enabled:
            return {"state": "Disabled"}
        if self.answer is None:
            starting = time.monotonic() - self.since < STARTING_SECONDS
            state = "Pending" if starting else "Warning"
            return {"state": state, "msg": f"hubble does not answer: {self.error or 'starting'}"}
        return {
            "state": "Ok",
            "msg": "",
            "observer": {
                "current-flows": self.answer.num_flows,
                "max-flows": self.answer.max_flows,
                "seen-flows": self.answer.seen_flows,
                "uptime": self.answer.uptime_ns,
            },
            "metrics": {"state": "Ok"},
        }

    def monitor(self) -> dict[str, Any]:
        """Return the `nodeMonitor` section: who listens for the kernel's events."""
        if self.answer is None:
            return {"state": "Disabled"}
        return {
            "state": "Ok",
            "cpus": os.cpu_count() or 0,
            "npages": RING_BYTES // PAGE,
            "pagesize": PAGE,
        }


async def ask(socket: Path) -> observer_pb2.ServerStatusResponse:
    """Ask once. grpc.RpcError or OSError when nobody answers in time."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        method = channel.unary_unary(
            METHOD,
            request_serializer=observer_pb2.ServerStatusRequest.SerializeToString,
            response_deserializer=observer_pb2.ServerStatusResponse.FromString,
        )
        reply: observer_pb2.ServerStatusResponse = await method(
            observer_pb2.ServerStatusRequest(), timeout=ASK_SECONDS
        )
        return reply


async def watch(state: ObserverState, socket: Path) -> None:
    """Ask again and again until cancelled; returns at once where there is no hubble."""
    while state.enabled:
        try:
            state.answer, state.error = await ask(socket), ""
        except grpc.aio.AioRpcError as error:
            state.answer, state.error = None, error.code().name
        await asyncio.sleep(EVERY_SECONDS if state.answer else 1.0)
