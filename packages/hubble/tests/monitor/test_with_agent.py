# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg monitor` and hubble's socket: the contract between the two products."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from hubble_fakes import drop, events, trace

from cilium_hubble.monitor.server import Monitor, serve

# Seconds; a Python that starts for the first time in a fresh clone, beside other tests, is slow.
LIMIT = 60


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (["-t", "drop"], b"xx drop (Policy denied) flow 0x"),
        (["-v", "--related-to", "8"], b"-" * 78),
        (["-j", "-t", "trace"], b'{"type":"trace"'),
    ],
)
async def test_the_command_prints_what_is_published(
    tmp_path: Path, argv: list[str], first: bytes
) -> None:
    monitor, path = Monitor(lambda _index: "", lambda: 1 << 16), tmp_path / "m.sock"
    async with serve(path, monitor):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cilium_agent.dbg.main",
            *("monitor", "--monitor-socket", str(path), *argv),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(LIMIT):
            while not monitor.clients:  # noqa: ASYNC110 - the command connects
                await asyncio.sleep(0.01)
            monitor.publish(events(trace(), drop()), {})
            assert process.stdout is not None
            if "-j" not in argv:
                head = [await process.stdout.readline() for _ in range(2)]
                assert head[0].endswith(b"CPUs with 16x4096 of shared memory\n")
                assert head[1] == b"Press Ctrl-C to quit\n"
            assert (await process.stdout.readline()).startswith(first)
            process.send_signal(2)
            assert await process.wait() == 0


async def test_the_command_tells_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    async with serve(path, Monitor(lambda _index: "", lambda: 0)):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cilium_agent.dbg.main",
            *("monitor", "--monitor-socket", str(path), "-t", "agent"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 1
    assert err == b"Error: types[0]: 'agent' events are not recorded yet\n"
