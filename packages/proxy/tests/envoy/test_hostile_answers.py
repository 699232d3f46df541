# SPDX-License-Identifier: Apache-2.0
"""What a hostile server answers over HTTP/1, and what its client gets of it by the real Envoy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from envoy_world import ask
from http1_cases import get
from proxy_fakes import http
from side_by_side import statuses
from test_streams import head, listening, until

pytestmark = pytest.mark.root
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
BAD = 502

ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "plain": (OK, 200, b"ok"),
    "lengths of both kinds": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(BAD, b"x"),
    ),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nok",
        BAD,
        b"x",
    ),
    "NUL in a value": (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok", BAD, b"x"),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", BAD, b"x"),
    "long headers": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", BAD, b"x"),
    "continue without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK, 200, b"ok"),
}


@pytest.fixture(scope="module")
def served(rig: Any) -> Iterator[list[bytes]]:
    """A list of answers; the first is given to each request."""
    assert rig.put(7, http()) == ""
    answers: list[bytes] = []
    listener = listening(rig)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection, answers), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield answers
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def answer(connection: socket.socket, answers: list[bytes]) -> None:
    with connection:
        try:
            while head(connection):
                connection.sendall(answers[0])
        except OSError:
            return


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(rig: Any, served: list[bytes], name: str) -> None:
    sent, status, body = ANSWERS[name]
    served[:] = [sent]
    got, text = ask(rig.world.http(7), "/a")
    assert got == status
    assert text == body if status == 200 else b"evil" not in text


def test_an_answer_that_nobody_asked_for_goes_to_nobody(rig: Any, served: list[bytes]) -> None:
    served[:] = [OK + EVIL]
    connection, other = rig.world.http(7), rig.world.http(7)
    assert ask(connection, "/a")[1] == b"ok"
    served[:] = [OK]
    assert [ask(one, "/a") for one in (connection, other)] == [(200, b"ok")] * 2


def test_a_switch_that_nobody_asked_for_opens_no_tunnel(rig: Any, served: list[bytes]) -> None:
    assert rig.put(7, http(path="/a")) == ""
    served[:] = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + EVIL]
    with rig.world.connect(8007) as client:
        client.sendall(get("/a"))
        first = head(client)
        assert first.startswith(b"HTTP/1.1 101")
        assert b"evil" not in first
        client.sendall(get("/admin"))
        assert head(client).startswith(b"HTTP/1.1 403")


def test_early_hints_come_before_the_answer(rig: Any, served: list[bytes]) -> None:
    assert rig.put(7, http()) == ""
    served[:] = [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK]
    with rig.world.connect(8007) as client:
        client.sendall(get("/a"))
        assert statuses(until(client, b"ok")) == [103, 200]
