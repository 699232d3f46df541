# SPDX-License-Identifier: Apache-2.0
"""Many tries on a schedule, and long transfers, with what was lost and the longest stall.

The schedule is open loop: try n starts at n/rate seconds whatever became of the tries before it.
One asyncio loop, one task per try.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from e2e.probe import clients
from e2e.probe.outcome import Outcome, error_word


@dataclass
class Summary:
    """The tries in numbers. Milliseconds of successful tries; errors by word.

    `schedule_late_ms` is how late this process itself was at worst: a figure near `max_ms` means
    that the machine was short of CPU, not that the network stalled.
    """

    sent: int = 0
    ok: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    seconds: float = 0.0
    schedule_late_ms: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return asdict(self)


def summarise(outcomes: Sequence[Outcome], seconds: float, late: float) -> Summary:
    """Numbers over the outcomes; `seconds` and `late` as measured by the caller."""
    times = sorted(outcome.ms for outcome in outcomes if outcome.ok)
    errors = Counter(outcome.error for outcome in outcomes if not outcome.ok)
    return Summary(
        sent=len(outcomes),
        ok=len(times),
        errors=dict(errors),
        p50_ms=times[len(times) // 2] if times else 0.0,
        p99_ms=times[len(times) * 99 // 100] if times else 0.0,
        max_ms=times[-1] if times else 0.0,
        seconds=round(seconds, 3),
        schedule_late_ms=round(late * 1000, 3),
    )


async def on_schedule(
    attempt: clients.Try, targets: Sequence[str], count: int, rate: float, **options: Any
) -> tuple[list[Outcome], Summary]:
    """`count` tries at `rate` a second, the targets in turn (a rate of 0: one after another)."""
    begun = time.monotonic()
    late = 0.0
    tasks: list[asyncio.Task[Outcome]] = []
    for number in range(count):
        target = targets[number % len(targets)]
        task = asyncio.ensure_future(attempt(target, **options))
        tasks.append(task)
        if rate:
            lateness = time.monotonic() - begun - (number + 1) / rate
            late = max(late, lateness)
            await asyncio.sleep(max(0.0, -lateness))
        else:
            await task
    outcomes = list(await asyncio.gather(*tasks))
    return outcomes, summarise(outcomes, time.monotonic() - begun, late)


async def held(target: str, count: int, rate: float, within: float) -> Summary:
    """`count` HTTP requests on one kept connection, at `rate` a second, each after the last.

    Ends at the first error: on one connection nothing can follow a reset.
    """
    url = urlsplit(target)
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    late = 0.0
    try:
        reader, writer = await asyncio.open_connection(url.hostname or "", url.port or 80)
        for number in range(count):
            start = time.monotonic()
            outcome = Outcome("http", target)
            outcomes.append(outcome)
            async with asyncio.timeout(within):
                writer.write(clients.request(url.path or "/", url.netloc, "keep-alive"))
                status, _ = await clients.response(reader)
            outcome.ms = round((time.monotonic() - start) * 1000, 3)
            outcome.ok = status < 400
            outcome.error = "" if outcome.ok else f"status {status}"
            wait = begun + (number + 1) / rate - time.monotonic() if rate else 0.0
            late = max(late, -wait)
            await asyncio.sleep(max(0.0, wait))
        writer.close()
    except (OSError, EOFError, TimeoutError) as error:
        outcomes = outcomes or [Outcome("http", target)]
        outcomes[-1].error = error_word(error)
    return summarise(outcomes, time.monotonic() - begun, late)


async def fetch(target: str, within: float) -> Outcome:
    """Read a whole http:// body; `detail`: `bytes`, `longest_stall_ms`, `mb_per_s`.

    A stall is the time between two reads. Longer than `within` seconds is an error.
    """
    outcome = Outcome("fetch", target)
    url = urlsplit(target)
    begun = last = time.monotonic()
    received, stall = 0, 0.0
    expected = -1
    try:
        reader, writer = await asyncio.open_connection(
            url.hostname or "", url.port or 80, limit=1 << 20
        )
        writer.write(clients.request(f"{url.path}?{url.query}", url.netloc, "close"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), within)
        for line in head.decode("latin-1").lower().split("\r\n"):
            if line.startswith("content-length:"):
                expected = int(line.partition(":")[2])
        last = time.monotonic()
        while received != expected:
            data = await asyncio.wait_for(reader.read(1 << 20), within)
            now = time.monotonic()
            stall, last = max(stall, now - last), now
            if not data:
                raise EOFError
            received += len(data)
        writer.close()
        outcome.ok = True
    except (OSError, EOFError, TimeoutError) as error:
        outcome.error = error_word(error)
    seconds = time.monotonic() - begun
    outcome.ms = round(seconds * 1000, 3)
    outcome.detail = {
        "bytes": received,
        "longest_stall_ms": round(stall * 1000, 3),
        "mb_per_s": round(received / 1e6 / seconds, 1),
    }
    return outcome
