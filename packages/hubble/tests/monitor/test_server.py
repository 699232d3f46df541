# SPDX-License-Identifier: Apache-2.0
"""The monitor socket: requests, lines, clients that go and clients that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubble_fakes import drop, events, trace

from cilium_hubble.monitor import server as server_module
from cilium_hubble.monitor.server import Monitor, serve


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[tuple[Monitor, Path]]:
    monitor = Monitor(lambda _index: "", lambda: 1 << 20)
    path = tmp_path / "monitor.sock"
    async with serve(path, monitor):
        assert path.stat().st_mode & 0o777 == 0o660
        yield monitor, path
    assert not path.exists()


async def ask(path: Path, **request: Any) -> tuple[dict[str, Any], asyncio.StreamReader, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(json.dumps(request).encode() + b"\n")
    return json.loads(await reader.readline()), reader, writer


async def settled(monitor: Monitor, clients: int) -> None:
    async with asyncio.timeout(5):
        while monitor.clients != clients:  # noqa: ASYNC110 - others change what is asked
            await asyncio.sleep(0.005)


async def test_a_client_gets_its_lines(socket: tuple[Monitor, Path]) -> None:
    monitor, path = socket
    head, reader, writer = await ask(path, types=["drop"])
    assert (head["pages"], head["page_size"]) == (256, 4096)
    assert head["cpus"] > 0
    _, other, other_writer = await ask(path, format="json")
    await settled(monitor, 2)
    monitor.publish(events(trace(), drop()), {3: 7})
    assert await reader.readline() == b"CPU 03: Lost 7 events\n"
    assert (await reader.readline()).startswith(b"xx drop (Policy denied)")
    kinds = [json.loads(await other.readline())["type"] for _ in range(3)]
    assert kinds == ["lost", "trace", "drop"]
    writer.close()
    await settled(monitor, 1)
    monitor.publish(events(trace()), {})
    assert json.loads(await other.readline())["type"] == "trace"
    other_writer.close()
    await settled(monitor, 0)


@pytest.mark.parametrize(
    ("request_fields", "words"),
    [({"types": ["agent"]}, "not recorded yet"), ({"shoe": 1}, "shoe")],
)
async def test_a_bad_request_gets_its_error(
    socket: tuple[Monitor, Path], request_fields: dict[str, Any], words: str
) -> None:
    head, reader, _ = await ask(socket[1], **request_fields)
    assert words in head["error"]
    assert await reader.read() == b""
    assert socket[0].clients == 0


async def test_a_client_that_says_nothing_is_let_go(
    socket: tuple[Monitor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.05)
    reader, _ = await asyncio.open_unix_connection(socket[1])
    assert json.loads(await reader.readline()) == {"error": "no request came"}


async def test_more_than_can_be_formatted_is_lost_and_told(socket: tuple[Monitor, Path]) -> None:
    monitor, path = socket
    _, reader, writer = await ask(path, types=["drop"])
    await settled(monitor, 1)
    monitor.publish(np.repeat(events(drop(), trace()), 1500), {})
    monitor.publish(events(drop()), {})
    lines = [await reader.readline() for _ in range(1002)]
    assert all(line.startswith(b"xx drop") for line in [*lines[:1000], lines[1001]])
    assert lines[1000] == b"CPU 00: Lost 500 events\n"
    writer.close()


async def test_a_client_that_does_not_read_loses_and_is_told(
    socket: tuple[Monitor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BUFFER_BYTES", 1 << 14)
    monitor, path = socket
    _, reader, writer = await ask(path)
    await settled(monitor, 1)
    batch = np.repeat(events(trace()), 1000)
    for _ in range(50):
        monitor.publish(batch, {})
        await asyncio.sleep(0)
    got = lost = 0
    async with asyncio.timeout(20):
        while got + lost < 50_001:
            line = await reader.readline()
            if b"Lost" in line:
                lost += int(line.split()[3])
            else:
                got += 1
            if got % 1000 == 0:
                monitor.publish(events(trace())[:0], {})
            if got + lost == 50_000:
                monitor.publish(events(trace()), {})
    assert lost > 0
    writer.close()
