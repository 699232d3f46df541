# SPDX-License-Identifier: Apache-2.0
"""`cilium-dbg monitor` against a socket that answers as hubble's does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cilium_agent.dbg.main import main

HEAD = {"cpus": 2, "pages": 256, "page_size": 4096}


class Hubble:
    """Takes one request, answers, closes."""

    def __init__(self, path: Path, head: dict[str, Any], text: bytes) -> None:
        self.path, self.request = path, {}
        self._reply = json.dumps(head).encode() + b"\n" + text
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            self.request = json.loads(lines.readline())
            connection.sendall(self._reply)

    def close(self) -> None:
        """Wait for the answer to be out."""
        self._thread.join(5)
        self._listener.close()


Serve = Callable[[dict[str, Any], bytes], Hubble]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[Hubble] = []

    def start(head: dict[str, Any], text: bytes = b"") -> Hubble:
        made.append(Hubble(tmp_path / "monitor.sock", head, text))
        return made[-1]

    yield start
    for hubble in made:
        hubble.close()


def monitor(path: Path, *argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["monitor", "--monitor-socket", str(path), *argv])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_lines_go_through(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    hubble = serve(HEAD, b"xx drop (Policy denied)\n-> stack\n")
    assert monitor(hubble.path) == 1
    out, err = capsys.readouterr()
    assert out == (
        "Listening for events on 2 CPUs with 256x4096 of shared memory\n"
        "Press Ctrl-C to quit\nxx drop (Policy denied)\n-> stack\n"
    )
    assert err == "Error: hubble went away\n"
    assert hubble.request == {
        "types": [],
        "format": "info",
        "from": [],
        "to": [],
        "related-to": [],
        "numeric": False,
    }


def test_flags_become_the_request(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    hubble = serve(HEAD, b'{"type":"drop"}\n')
    argv = ["-t", "drop", "-t", "trace", "-j", "--from", "1", "--to", "2", "--related-to", "3"]
    monitor(hubble.path, *argv, "--related-to", "4", "-n")
    assert capsys.readouterr().out == '{"type":"drop"}\n'
    assert hubble.request == {
        "types": ["drop", "trace"],
        "format": "json",
        "from": [1],
        "to": [2],
        "related-to": [3, 4],
        "numeric": True,
    }


def test_verbose(serve: Serve) -> None:
    hubble = serve(HEAD)
    monitor(hubble.path, "-v")
    assert hubble.request["format"] == "verbose"


def test_what_hubble_refuses_is_told(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    hubble = serve({"error": "types[0]: 'shoe' is not one of drop"})
    assert monitor(hubble.path, "-t", "shoe") == 1
    assert capsys.readouterr().err == "Error: types[0]: 'shoe' is not one of drop\n"


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor(tmp_path / "none.sock") == 1
    assert "cannot reach hubble at" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--to", "0"], ["--from", "x"], ["-v", "-j"]])
def test_wrong_flags(tmp_path: Path, argv: list[str]) -> None:
    assert monitor(tmp_path / "s", *argv) == 2
