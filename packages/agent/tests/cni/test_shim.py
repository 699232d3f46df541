# SPDX-License-Identifier: Apache-2.0
"""The plugin where no agent is: what it answers itself, and DEL queued."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest

CONTAINER = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/var/run/netns/x"}


def queued(tmp_path: Path) -> list[dict]:
    files = sorted((tmp_path / "run" / "deleteQueue").glob("*.delete"))
    return [json.loads(path.read_text()) for path in files]


def test_it_is_static(plugin: Path) -> None:
    said = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in said.stderr + said.stdout


async def test_version_needs_no_agent(call) -> None:
    code, out = await call("VERSION", "{}")
    assert code == 0
    assert out["supportedVersions"] == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]


@pytest.mark.parametrize(
    ("command", "expected"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)]
)
async def test_without_an_agent_the_socket_is_named(
    call, tmp_path: Path, command: str, expected: int
) -> None:
    code, out = await call(command, '{ "cniVersion" : "1.1.0" }', **CONTAINER)
    assert code == 1
    assert out["code"] == expected
    assert str(tmp_path / "run" / "cni.sock") in out["msg"]
    assert out["cniVersion"] == "1.1.0"


def test_a_missing_command_is_named(plugin: Path) -> None:
    done = subprocess.run([plugin], env={}, input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 4
    assert "CNI_COMMAND" in json.loads(done.stdout)["msg"]


async def test_del_without_an_agent_is_queued(call, tmp_path: Path) -> None:
    stdin = '{"cniVersion":"1.0.0","odd":"\\"\\\\ \u00fc\\n"}\n'
    assert await call("DEL", stdin, **CONTAINER, OTHER="hidden") == (0, None)
    (entry,) = queued(tmp_path)
    assert entry["stdin"] == stdin
    assert entry["env"] == {"CNI_COMMAND": "DEL", **CONTAINER}
    files = {p.name for p in (tmp_path / "run" / "deleteQueue").iterdir()}
    assert len(files) == 2
    assert "lock" in files


async def test_a_refusing_socket_counts_as_no_agent(call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "run" / "cni.sock"))
    dead.close()
    assert await call("DEL", **CONTAINER) == (0, None)
    assert len(queued(tmp_path)) == 1
    assert (await call("ADD", **CONTAINER))[1]["code"] == 11


async def test_many_dels_are_all_queued(call, tmp_path: Path) -> None:
    calls = (call("DEL", **{**CONTAINER, "CNI_CONTAINERID": f"c{n}"}) for n in range(20))
    assert set(await asyncio.gather(*calls)) == {(0, None)}
    assert {entry["env"]["CNI_CONTAINERID"] for entry in queued(tmp_path)} == {
        f"c{n}" for n in range(20)
    }


async def test_an_agent_that_dies_in_the_middle(call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.transport.abort()

    server = await asyncio.start_unix_server(die, tmp_path / "run" / "cni.sock")
    assert await call("DEL", **CONTAINER) == (0, None)
    assert len(queued(tmp_path)) == 1
    code, out = await call("ADD", **CONTAINER)
    assert (code, out["code"]) == (1, 11)
    server.close()


async def test_del_waits_while_an_agent_starts(call, tmp_path: Path) -> None:
    """The starting agent holds the lock; the plugin then finds its socket and queues nothing."""
    queue = tmp_path / "run" / "deleteQueue"
    queue.mkdir(parents=True)
    lock = os.open(queue / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    pending = asyncio.create_task(call("DEL", **CONTAINER))
    await asyncio.sleep(0.3)
    assert not pending.done()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        frame = json.loads(await reader.readexactly(length))
        text = json.dumps({"seen": frame["env"]["CNI_CONTAINERID"]}).encode()
        writer.write(struct.pack(">II", 3, len(text)) + text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "run" / "cni.sock")
    os.close(lock)
    assert await pending == (3, {"seen": "c1"})
    assert queued(tmp_path) == []
    server.close()


async def test_too_much_input_is_refused(call) -> None:
    code, out = await call("ADD", b"x" * (1 << 20) + b"y", **CONTAINER)
    assert (code, out["code"]) == (1, 5)
    assert "stdin" in out["msg"]
