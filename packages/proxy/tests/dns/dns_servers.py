# SPDX-License-Identifier: Apache-2.0
"""A DNS server for tests, in threads: what it answers is decided by the first label."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections import Counter

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
from dns_lab import SERVER, STRANGER, Lab

MANY = 120


class Server:
    """Serves UDP and TCP, IPv4 and IPv6, on port 53 of the server's namespace."""

    def __init__(self, lab: Lab) -> None:
        """Start."""
        self.asked: Counter[str] = Counter()
        self.clients: list[tuple[str, int]] = []
        self.changing = itertools.count(1)
        self._sockets: list[socket.socket] = []
        for version in (4, 6):
            udp = lab.socket(lab.server, version)
            udp.bind((SERVER[version], 53))
            tcp = lab.socket(lab.server, version, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((SERVER[version], 53))
            tcp.listen()
            self._sockets += [udp, tcp]
            threading.Thread(target=self._udp, args=(udp,), daemon=True).start()
            threading.Thread(target=self._tcp, args=(tcp,), daemon=True).start()
        self._stranger = lab.socket(lab.server, 4)
        self._stranger.bind((STRANGER, 53))
        self._sockets.append(self._stranger)

    def close(self) -> None:
        """Close the ports; the namespace answers that nobody is there."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _udp(self, udp: socket.socket) -> None:
        while True:
            try:
                wire, client = udp.recvfrom(65535)
            except OSError:
                return
            if not wire:  # the port is being closed
                return
            query = dns.message.from_wire(wire)
            self._note(query, client)
            if query.question[0].name.labels[0] == b"spoofed":
                self._lie(udp, query, client)
            answer = self.answer(query, tcp=False)
            if answer is not None:
                udp.sendto(answer, client)

    def _tcp(self, tcp: socket.socket) -> None:
        while True:
            try:
                connection, client = tcp.accept()
            except OSError:
                return
            work = threading.Thread(target=self._stream, args=(connection, client), daemon=True)
            work.start()

    def _stream(self, connection: socket.socket, client: tuple[str, int]) -> None:
        held: list[bytes] = []
        seen = 0
        reset = contextlib.suppress(ConnectionResetError)  # how the proxy ends a connection
        with reset, connection, connection.makefile("rb") as reader:
            while len(head := reader.read(2)) == 2:
                query = dns.message.from_wire(reader.read(*struct.unpack("!H", head)))
                self._note(query, client)
                answer = self.answer(query, tcp=True)
                if query.question[0].name.labels[0] == b"impatient":
                    seen += 1
                    if seen == 2:  # it has gone before it read the second question
                        return
                if answer is None:
                    continue
                held.append(len(answer).to_bytes(2, "big") + answer)
                if query.question[0].name.labels[0] != b"later":  # else: after the next one
                    connection.sendall(b"".join(reversed(held)))
                    held.clear()

    def _note(self, query: dns.message.Message, client: tuple[str, int]) -> None:
        self.asked[query.question[0].name.to_text()] += 1
        self.clients.append(client[:2])

    def _lie(self, udp: socket.socket, query: dns.message.Message, client: object) -> None:
        """Send answers that must not be believed, before the true one."""
        false = self._with(query, "192.0.2.66")
        self._stranger.sendto(false, client)  # everything right but whom it comes from
        udp.sendto(bytes([false[0] ^ 1]) + false[1:], client)  # another id
        other = dns.message.make_query("other.example", "A", id=query.id)
        udp.sendto(self._with(other, "192.0.2.66"), client)  # another question
        udp.sendto(query.to_wire(), client)  # no answer at all
        udp.sendto(b"\0", client)

    def _with(self, query: dns.message.Message, address: str) -> bytes:
        made = dns.message.make_response(query)
        name = query.question[0].name.to_text()
        made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
        return made.to_wire()

    def answer(self, query: dns.message.Message, *, tcp: bool) -> bytes | None:
        """Return the answer, None for silence."""
        question = query.question[0]
        label, name = question.name.labels[0], question.name.to_text()
        made = dns.message.make_response(query)
        if label == b"silent":
            return None
        if label == b"missing":
            made.set_rcode(3)
            return made.to_wire()
        if label == b"failing":
            made.set_rcode(2)
        addresses = {
            b"many": [f"192.0.2.{n}" for n in range(MANY)],
            b"changing": [f"198.51.100.{next(self.changing) % 250}"],
        }.get(label, ["192.0.2.1"])
        if label == b"alias":
            made.answer.append(dns.rrset.from_text(name, 30, "IN", "CNAME", "www.example."))
            name = "www.example."
        if question.rdtype == dns.rdatatype.AAAA:
            made.answer.append(dns.rrset.from_text(name, 60, "IN", "AAAA", "2001:db8::1"))
        else:
            made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *addresses))
        size = 65535 if tcp else (query.payload if query.edns >= 0 else 512)
        wire = made.to_wire(max_size=65535)
        if len(wire) > size:
            made.answer.clear()
            made.flags |= dns.flags.TC
            wire = made.to_wire()
        return wire
