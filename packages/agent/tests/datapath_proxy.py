# SPDX-License-Identifier: Apache-2.0
"""A proxy as stock ones are, small: transparent listeners on the loopback, legs with the client's
address, and a note of every connection that it took.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterator

from cilium_core.layouts.redirect import LEG_PORTS
from cilium_core.marks import Mark

FAMILIES = {4: (socket.AF_INET, "127.0.0.1"), 6: (socket.AF_INET6, "::1")}
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR = 20, 74
IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE, SO_MARK = 24, 51, 36
PORT_RANGE = struct.pack("=I", LEG_PORTS[-1] << 16 | LEG_PORTS[0])


class Proxy:
    """Relays what is led to its port; `seen` are (client address, original address, port)."""

    def __init__(self, namespace, port: int, mark: Mark) -> None:
        self.namespace, self.port, self.mark = namespace, port, mark
        self.seen: list[tuple[str, str, int]] = []
        self.resets = 0
        self._sockets: list[socket.socket] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        for family in FAMILIES:
            for kind in KINDS:
                made = self._transparent(family, kind)
                made.bind((FAMILIES[family][1], self.port))
                if kind == "tcp":
                    made.listen(64)
                else:
                    level = socket.SOL_IP if family == 4 else socket.IPPROTO_IPV6
                    name = IP_RECVORIGDSTADDR if family == 4 else IPV6_RECVORIGDSTADDR
                    made.setsockopt(level, name, 1)
                made.settimeout(0.1)
                self._sockets.append(made)
                work = self._accept if kind == "tcp" else self._answer
                self._run(work, made, family)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in list(self._threads):
            thread.join()
        for made in self._sockets:
            made.close()

    def _run(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _transparent(self, family: int, kind: str) -> socket.socket:
        with self.namespace.entered():
            made = socket.socket(FAMILIES[family][0], KINDS[kind])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 4:
            made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        return made

    def leg(self, family: int, kind: str, client: str, server: tuple[str, int]) -> socket.socket:
        """Open a connection in the client's name."""
        made = self._transparent(family, kind)
        made.setsockopt(socket.SOL_SOCKET, SO_MARK, int(self.mark))
        made.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, PORT_RANGE)
        made.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        made.settimeout(3)
        made.bind((client, 0))
        made.connect(server)
        return made

    def _accept(self, listener: socket.socket, family: int) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                taken, client = listener.accept()
                wanted = taken.getsockname()[:2]
                self.seen.append((client[0], *wanted))
                self._run(self._relay, taken, family, client[0], wanted)

    def _relay(self, taken: socket.socket, family: int, client: str, wanted) -> None:
        try:
            with taken, self.leg(family, "tcp", client, wanted) as leg:
                for sender, receiver in self._ready(taken, leg):
                    data = sender.recv(65536)
                    if not data:
                        return
                    receiver.sendall(data)
        except ConnectionResetError:
            self.resets += 1
        except OSError:
            return

    def _ready(self, one: socket.socket, other: socket.socket) -> Iterator[tuple]:
        with selectors.DefaultSelector() as waiting:
            waiting.register(one, selectors.EVENT_READ, (one, other))
            waiting.register(other, selectors.EVENT_READ, (other, one))
            while not self._stop.is_set():
                for key, _ in waiting.select(0.1):
                    yield key.data

    def _answer(self, listener: socket.socket, family: int) -> None:
        while not self._stop.is_set():
            try:
                data, ancillary, _, client = listener.recvmsg(65536, 256)
            except TimeoutError:
                continue
            raw = ancillary[0][2]
            (port,) = struct.unpack_from("!H", raw, 2)
            address = raw[4:8] if family == 4 else raw[8:24]
            wanted = socket.inet_ntop(FAMILIES[family][0], address), port
            self.seen.append((client[0], *wanted))
            with self.leg(family, "udp", client[0], wanted) as leg:
                leg.send(data)
                answer = leg.recv(65536)
            with self._transparent(family, "udp") as back:
                back.setsockopt(socket.SOL_SOCKET, SO_MARK, int(self.mark))
                back.bind(wanted)
                back.sendto(answer, client)
