# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 connections that the caller writes byte by byte: many at once, or one for long.

`run` takes a JSON list of `{"target": "10.0.0.7:8080", "sends": ["GET / HTTP/1.1\\r\\n…"]}`, texts
of Latin-1, sent one after the other on one connection each; it ends when nothing comes for a while.
`talk` takes paths, one a line, and asks for each on a connection that is kept while it can be.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from e2e.probe import clients
from e2e.probe.errors import TargetError
from e2e.probe.outcome import Outcome, address, error_word, split_target

QUIET_SECONDS = 1.5
BETWEEN_SECONDS = 0.1


async def run(text: str) -> list[dict[str, Any]]:
    """Outcomes in order; `detail`: `statuses`, `bodies` of the answers, and whether `closed`."""
    try:
        elements = json.loads(text)
        asked = [(e["target"], [s.encode("latin-1") for s in e["sends"]]) for e in elements]
    except (ValueError, KeyError, TypeError) as error:
        raise TargetError(f"not a JSON list of target and sends: {error!r}") from error
    outcomes = await asyncio.gather(*(_one(target, sends) for target, sends in asked))
    return [outcome.as_json() for outcome in outcomes]


async def _one(target: str, sends: list[bytes]) -> Outcome:
    outcome = Outcome("raw", target)
    host, port = split_target(target)
    try:
        reader, writer = await asyncio.open_connection(host, port)
        outcome.local = address(writer.get_extra_info("sockname"))
        for data in sends:
            writer.write(data)
            await asyncio.sleep(BETWEEN_SECONDS if len(sends) > 1 else 0)
        answers, closed = await _until_quiet(reader)
        statuses, bodies = await _split(answers)
        outcome.detail = {"statuses": statuses, "bodies": bodies, "closed": closed}
        outcome.ok = True
        writer.close()
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        outcome.error = error_word(error)
    return outcome


async def _until_quiet(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    answers = b""
    while True:
        try:
            data = await asyncio.wait_for(reader.read(1 << 16), QUIET_SECONDS)
        except TimeoutError:
            return answers, False
        except ConnectionError:
            return answers, True
        if not data:
            return answers, True
        answers += data


async def _split(answers: bytes) -> tuple[list[int], list[Any]]:
    reader = asyncio.StreamReader()
    reader.feed_data(answers)
    reader.feed_eof()
    statuses, bodies = [], []
    while not reader.at_eof():
        if answers.startswith(b"HTTP/1.1 101"):
            return [101], []
        status, body = await clients.response(reader)
        statuses.append(status)
        bodies.append(clients.readable(body))
    return statuses, bodies


async def talk(target: str, within: float) -> AsyncIterator[dict[str, Any]]:
    """Ask for the paths that stdin names; an error closes, and the next path opens anew."""
    host, port = split_target(target)
    loop = asyncio.get_running_loop()
    held: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while path := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        outcome, begun = Outcome("talk", target), time.monotonic()
        try:
            async with asyncio.timeout(within):
                held = held or await asyncio.open_connection(host, port)
                reader, writer = held
                outcome.local = address(writer.get_extra_info("sockname"))
                writer.write(clients.request(path, target, "keep-alive"))
                status, body = await clients.response(reader)
            outcome.detail = {"status": status, "body": clients.readable(body)}
            outcome.ok = True
        except (OSError, EOFError, TimeoutError) as error:
            outcome.error = error_word(error)
            if held:
                held[1].close()
            held = None
        outcome.ms = round((time.monotonic() - begun) * 1000, 3)
        yield outcome.as_json()
