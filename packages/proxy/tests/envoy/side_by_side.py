# SPDX-License-Identifier: Apache-2.0
"""Cases of raw bytes, all at once, each from an address of its own: what its client was answered,
what the server saw and what the records say."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envoy_world import SERVER
from recorder import Recorder, Seen

from cilium_core.proto import flow_pb2

PORT = 8007
QUIET_SECONDS = 1.3  # Envoy closes a second after it has found fault
MOST_SECONDS = 6.0


@dataclass
class Found:
    """What became of a case. `closed` is whether the proxy closed the connection."""

    answers: bytes = b""
    closed: bool = False
    seen: Seen = field(default_factory=Seen)
    records: list[Any] = field(default_factory=list)

    def told(self) -> list[str]:
        """Return the records of requests: `FORWARDED GET /a`."""
        return [
            f"{flow_pb2.Verdict.Name(r.verdict)} {r.l7.http.method} {path_of(r.l7.http.url)}"
            for r in self.records
            if r.l7.type == flow_pb2.REQUEST
        ]


def path_of(url: str) -> str:
    """Return what comes after scheme and host."""
    return "/" + url.split("/", 3)[3] if url.count("/") > 2 else url


Talk = Callable[[socket.socket], None]


def run(rig: Any, cases: Mapping[str, Sequence[bytes] | Talk]) -> dict[str, Found]:
    """Send each case's pieces on a connection of its own, with rule set 7 in the way."""
    addresses = {name: f"10.77.1.{10 + n}" for n, name in enumerate(cases)}
    words = "\n".join(f"addr replace {a}/24 dev eth0" for a in addresses.values())
    rig.world.inside("client", "ip", "-batch", "-", text=words)
    recorder = Recorder(rig.world._in("server", lambda: _listen()))
    sockets = {name: rig.world._in("client", _from(address)) for name, address in addresses.items()}
    found = {name: Found() for name in cases}
    threads = [
        threading.Thread(target=_talk, args=(sockets[name], case, found[name]))
        for name, case in cases.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in sockets.values():
        connection.close()
    time.sleep(0.3)  # the last flush of Envoy's log
    recorder.close()
    for name, address in addresses.items():
        found[name].seen = recorder.seen[address]
        found[name].records = [r for r in list(rig.hubble.records) if r.source == address]
    return found


def _listen() -> socket.socket:
    made = socket.create_server(
        ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256
    )
    return made


def _from(address: str) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection((SERVER, PORT), 5, source_address=(address, 0))


def _talk(connection: socket.socket, case: Sequence[bytes] | Talk, found: Found) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    connection.settimeout(QUIET_SECONDS)
    reader = threading.Thread(target=_read, args=(connection, found, deadline))
    reader.start()
    with contextlib.suppress(OSError):
        if callable(case):
            case(connection)
        else:
            for piece in case:
                connection.sendall(piece)
                if len(case) > 1:
                    time.sleep(0.1)
    reader.join()


def _read(connection: socket.socket, found: Found, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            found.closed = True
            return
        found.answers += data


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of HTTP/1 answers, whose bodies are taken off by their lengths."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1."), answers[:200]
        found.append(int(lines[0].split()[1]))
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}
        if found[-1] == 101:
            break
        answers = rest[int(fields.get(b"content-length", b"0")) :]
    return found
