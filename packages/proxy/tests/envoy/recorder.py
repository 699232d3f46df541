# SPDX-License-Identifier: Apache-2.0
"""A server that keeps what it was asked: HTTP/1.1 and, where that is what comes, HTTP/2.

It believes nothing that it cannot read: bytes that are no request are kept as such. What it saw is
told apart by the client's address, so that any number of cases may run side by side.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import defaultdict
from typing import Any

import h2.config
import h2.connection
import h2.events

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nServer: mine\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Seen:
    """What came from one address."""

    def __init__(self) -> None:
        self.connections = 0
        self.lines: list[str] = []  # METHOD path, in order
        self.headers: list[list[tuple[str, str]]] = []
        self.bodies: list[bytes] = []
        self.strange: list[bytes] = []  # bytes that are no request


class Recorder:
    """Listens until it is closed; one thread a connection."""

    def __init__(self, listener: socket.socket) -> None:
        """Serve on a socket that listens."""
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        self._listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            seen = self.seen[peer[0].removeprefix("::ffff:")]
            seen.connections += 1
            threading.Thread(target=_serve, args=(connection, seen), daemon=True).start()


def _serve(connection: socket.socket, seen: Seen) -> None:
    with connection:
        try:
            data = connection.recv(1 << 16)
            if data.startswith(PREFACE[:4]):
                _http2(connection, data, seen)
            else:
                _http1(_Reader(connection, data), seen)
        except ConnectionError:
            pass


class _Reader:
    """Bytes of a connection, until they end."""

    def __init__(self, connection: socket.socket, data: bytes) -> None:
        self.connection, self.data = connection, data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.data:
            if not self._more():
                return b""
        head, _, self.data = self.data.partition(mark)
        return head + mark

    def exactly(self, size: int) -> bytes:
        while len(self.data) < size and self._more():
            pass
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def _more(self) -> bool:
        found = self.connection.recv(1 << 16)
        self.data += found
        return bool(found)


def _http1(reader: _Reader, seen: Seen) -> None:
    while head := reader.until(b"\r\n\r\n"):
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        if not re.fullmatch(r"[A-Z-]+ \S+ HTTP/1\.[01]", first) or not all(":" in n for n in lines):
            seen.strange.append(head)
            return
        pairs = [
            (name.lower(), value.strip()) for name, _, value in (n.partition(":") for n in lines)
        ]
        seen.lines.append(first.rpartition(" ")[0])
        seen.headers.append(pairs)
        fields = dict(pairs)
        if fields.get("upgrade", "").lower() == "websocket":
            reader.connection.sendall(SWITCH)
            seen.bodies.append(reader.data + reader.connection.recv(1000))
            reader.connection.sendall(seen.bodies[-1])
            return
        if fields.get("expect"):
            reader.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.bodies.append(_body(reader, fields))
        reader.connection.sendall(ANSWER if not first.startswith("HEAD") else ANSWER[:-2])
    if reader.data:
        seen.strange.append(reader.data)


def _body(reader: _Reader, fields: dict[str, str]) -> bytes:
    if "transfer-encoding" not in fields:
        return reader.exactly(int(fields.get("content-length", "0")))
    body = b""
    while size := int(reader.until(b"\r\n") or b"0", 16):  # or cut off with its client
        body += reader.exactly(size)
        reader.until(b"\r\n")
    while reader.until(b"\r\n") not in (b"\r\n", b""):
        pass
    return body


def _http2(connection: socket.socket, data: bytes, seen: Seen) -> None:
    config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
    config.validate_inbound_headers = False
    state = h2.connection.H2Connection(config)
    state.initiate_connection()
    while data:
        for event in state.receive_data(data):
            _note(state, event, seen)
        connection.sendall(state.data_to_send())
        data = connection.recv(1 << 16)


def _note(state: h2.connection.H2Connection, event: Any, seen: Seen) -> None:
    if isinstance(event, h2.events.RequestReceived):
        pairs = [(str(name), str(value)) for name, value in event.headers]
        fields = dict(pairs)
        seen.lines.append(f"{fields[':method']} {fields.get(':path', '')}")
        seen.headers.append(pairs)
        seen.bodies.append(b"")
        state.send_headers(event.stream_id, [(":status", "200"), ("server", "mine")])
        state.send_data(event.stream_id, b"ok", end_stream=True)
    elif isinstance(event, h2.events.DataReceived):
        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        seen.bodies[-1] += event.data
