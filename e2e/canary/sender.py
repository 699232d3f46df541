# SPDX-License-Identifier: Apache-2.0
"""The sender's process: sends every flow on its schedule and serves the record over HTTP.

One asyncio loop. A flow's next message is due at a fixed time, whatever became of the last one;
when the process itself was late, missed messages are sent at once, and the time without CPU is
taken away from what lies in it (`starvation`).
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from e2e.canary import channels
from e2e.canary.errors import CanaryError
from e2e.canary.flows import RATES, Flow, decode
from e2e.canary.record import Record
from e2e.canary.starvation import Starvation

WARM_UP_SECONDS = 3.0
OPEN_SECONDS = 30.0
REPORT_PORT = 8090


class Sender:
    """All flows of one sender."""

    def __init__(self, flows: Sequence[Flow], warm_up: float = WARM_UP_SECONDS) -> None:
        self.counts_from = time.monotonic() + warm_up
        self.starvation = Starvation()
        self._channels = [channels.channel(flow, self._record(flow)) for flow in flows]
        self._tasks: list[asyncio.Task[None]] = []

    def _record(self, flow: Flow) -> Record:
        period, deadline = 1.0 / RATES[flow.kind], channels.deadline(flow)
        return Record(period, deadline, self.counts_from, self.starvation)

    async def start(self) -> None:
        """Open every held socket and begin to send."""
        for number, channel in enumerate(self._channels):
            await _open(channel)
            self._tasks.append(asyncio.create_task(self._send(channel, number)))

    async def _send(self, channel: channels.Channel, offset: int) -> None:
        period = 1.0 / RATES[channel.flow.kind]
        due = time.monotonic() + period * offset / len(self._channels)
        number = 0
        while True:
            self.starvation.expect(offset, due)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.starvation.ran(offset, time.monotonic())
            number += 1
            channel.send(number)
            due += period

    def report(self) -> dict[str, Any]:
        """Everything so far, as the report reads it."""
        now = time.monotonic()
        return {
            "now": time.time(),
            "seconds": round(max(0.0, now - self.counts_from), 1),
            "sender_late_ms": self.starvation.worst_ms,
            "failed": [repr(task.exception()) for task in self._tasks if task.done()],
            "flows": [
                {
                    "name": channel.flow.name,
                    "kind": channel.flow.kind,
                    "target": channel.flow.target,
                    **channel.record.as_json(now),
                }
                for channel in self._channels
            ],
        }

    async def serve_report(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer any HTTP request with the report."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            text = json.dumps(self.report()).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % len(text) + text
            )
            await writer.drain()
        except (OSError, EOFError):
            return  # the reader of the report went away
        finally:
            writer.close()

    def stop(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        for channel in self._channels:
            channel.close()


async def _open(channel: channels.Channel) -> None:
    ends = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            await channel.open()
            return
        except (OSError, TimeoutError) as error:
            if time.monotonic() > ends:
                raise CanaryError(
                    f"{channel.flow.name}: {channel.flow.target} cannot be opened: {error!r}"
                ) from error
            await asyncio.sleep(0.2)


async def main() -> None:
    """Send what CANARY_FLOWS says until SIGTERM, with the report on REPORT_PORT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    sender = Sender(decode(os.environ.get("CANARY_FLOWS", "")))
    await asyncio.start_server(sender.serve_report, None, REPORT_PORT)
    await sender.start()
    print("sending", flush=True)
    await told.wait()
    sender.stop()
