# SPDX-License-Identifier: Apache-2.0
"""What is long or slow through the real Envoy: streams, events, large bodies, trailers, tunnels."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from envoy_world import SERVER
from http2_cases import GRPC
from http2_frames import BEGIN, outcomes, request
from proxy_fakes import http

pytestmark = pytest.mark.root
TE = ("te", "trailers")
GIGABYTE = 1 << 30
FLAT_BYTES = 24 << 20
PORT = 8007
SLOW = 0.5  # of a message that is late because something kept it; the machine is shared


def test_grpc_streams_of_all_kinds(rig: Any) -> None:
    assert rig.put(4, http(path="/test.Echo/.*")) == ""
    program = str(Path(__file__).parent / "streaming_client.py")
    told = json.loads(rig.world.inside("client", sys.executable, program, f"{SERVER}:8004"))
    assert told["client"] == 3000
    assert told["trailers"]["x-tail"] == "1"
    assert len(told["server"]) == 10
    assert max(told["server"]) < SLOW  # not all together at the end
    assert max(told["both"]) < SLOW


def listening(rig: Any) -> socket.socket:
    """Return a listening socket of the server on the recorder's port."""

    def make() -> socket.socket:
        return socket.create_server(("", PORT), backlog=16)

    return rig.world._in("server", make)


def head(connection: socket.socket) -> bytes:
    """Return what comes up to the end of the headers, and behind; nothing at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (found := connection.recv(4096)):
            return b""
        data += found
    return data


def test_a_gigabyte_each_way_at_once_and_a_reader_that_waits(rig: Any) -> None:
    assert rig.put(7, http(method="PUT", path="/big")) == ""
    before, most = rig.memory(), 0
    lines = f"HTTP/1.1\r\nHost: x\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode()
    with listening(rig) as listener, rig.world.connect(PORT) as client:
        client.sendall(b"PUT /big " + lines)
        server, _ = listener.accept()
        with server:
            early = len(head(server).partition(b"\r\n\r\n")[2])
            server.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode())
            client.settimeout(60)
            server.settimeout(60)
            kept = len(head(client).partition(b"\r\n\r\n")[2])
            counts = {"up": early, "down": kept}
            threads = [
                threading.Thread(target=send, args=(client,)),
                threading.Thread(target=send, args=(server,)),
                threading.Thread(target=drain, args=(server, counts, "up")),
                threading.Thread(target=drain, args=(client, counts, "down", 0.5)),
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                most = max(most, rig.memory())
                time.sleep(0.05)
    assert counts == {"up": GIGABYTE, "down": GIGABYTE}
    assert most - before < FLAT_BYTES


def send(connection: socket.socket) -> None:
    with open(os.memfd_create("zeros"), "w+b") as file:
        file.truncate(GIGABYTE)
        connection.sendfile(file)


def drain(connection: socket.socket, counts: dict[str, int], which: str, wait: float = 0) -> None:
    time.sleep(wait)
    buffer = bytearray(1 << 20)
    while counts[which] < GIGABYTE:
        found = connection.recv_into(buffer)
        assert found, "cut"
        counts[which] += found


def test_events_come_when_they_are_sent(rig: Any) -> None:
    assert rig.put(7, http(path="/events")) == ""
    with listening(rig) as listener, rig.world.connect(PORT) as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        server, _ = listener.accept()
        with server:
            head(server)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            head(client)
            for n in range(5):
                event = b"data: %d\n\n" % n
                begun = time.monotonic()
                server.sendall(event)
                assert event in client.recv(100)
                assert time.monotonic() - begun < SLOW
    # An answer without a length ends with its connection, and so it does here.


def test_trailers_of_requests_and_answers_arrive(rig: Any) -> None:
    assert rig.put(7, http(path="/tail")) == ""
    chunked = (
        b"Transfer-Encoding: chunked\r\nTrailer: X-Tail\r\n\r\n2\r\nhi\r\n0\r\nX-Tail: 1\r\n\r\n"
    )
    with listening(rig) as listener, rig.world.connect(PORT) as client:
        client.sendall(b"POST /tail HTTP/1.1\r\nHost: x\r\n" + chunked)
        server, _ = listener.accept()
        with server:
            got = until(server, b"x-tail: 1\r\n\r\n")
            assert got.count(b"x-tail") == 1
            server.sendall(b"HTTP/1.1 200 OK\r\n" + chunked)
            until(client, b"x-tail: 1\r\n\r\n")


def until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while not data.endswith(mark):
        found = connection.recv(4096)
        assert found, data
        data += found
    return data


def test_an_edit_binds_the_next_request_of_an_open_http2_connection(rig: Any) -> None:
    assert rig.put(4, http(path="/a")) == ""
    with rig.world.connect(8004) as client:
        client.sendall(BEGIN)
        stream, answers = -1, b""

        def ask(path: str) -> str:
            nonlocal stream, answers
            stream += 2
            client.sendall(request(path, GRPC, TE, method="POST", stream=stream, body=b""))
            mark = f"{stream}: "
            while not (found := [o for o in outcomes(answers) if o.startswith(mark)]):
                answers += client.recv(1 << 16)
            return found[0].removeprefix(mark)

        unknown, denied = "200 grpc 12", "200 grpc 7"  # the server has no such methods
        assert [ask("/a"), ask("/b")] == [unknown, denied]
        assert rig.put(4, http(path="/b")) == ""  # another
        assert [ask("/a"), ask("/b")] == [denied, unknown]
        assert rig.put(4, http()) == ""  # all
        assert [ask("/a"), ask("/b")] == [unknown, unknown]
        assert rig.put(4, http(path="/none")) == ""
        assert [ask("/a"), ask("/b")] == [denied, denied]
