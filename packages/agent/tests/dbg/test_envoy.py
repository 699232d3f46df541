# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg envoy admin`, from the socket to the text."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cilium_agent.dbg import main as dbg

LISTENERS = "http-egress::127.0.0.1:10001\n"


async def _run(path: Path, status: str, body: str, page: str) -> tuple[int, list[bytes]]:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    def command() -> int:
        with pytest.raises(SystemExit) as ended:
            dbg.main(["envoy", "admin", "--socket", str(path), page])
        return int(ended.value.code or 0)

    async with await asyncio.start_unix_server(answer, path):
        return await asyncio.to_thread(command), asked


async def test_a_page_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, asked = await _run(tmp_path / "s", "200 OK", LISTENERS, "listeners")
    assert (code, capsys.readouterr().out) == (0, LISTENERS)
    assert asked == [b"GET /listeners HTTP/1.1"]


async def test_an_error_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = await _run(tmp_path / "s", "503 Not Now", "starting", "server")
    assert (code, capsys.readouterr().err) == (1, "Error: GET /server_info: 503 starting\n")


def test_no_envoy_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dbg.main(["envoy", "admin", "--socket", str(tmp_path / "none"), "server"])
    assert ended.value.code == 1
    assert "no answer from Envoy at" in capsys.readouterr().err


def test_pages_that_change_envoy_are_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dbg.main(["envoy", "admin", "quitquitquit"])
    assert (ended.value.code, "invalid choice" in capsys.readouterr().err) == (2, True)
