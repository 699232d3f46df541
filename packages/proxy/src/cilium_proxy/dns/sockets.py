# SPDX-License-Identifier: Apache-2.0
"""Transparent sockets: they listen for what was sent elsewhere and send as somebody else.

Needs CAP_NET_ADMIN and CAP_NET_RAW. Every packet that leaves has the mark of the DNS proxy, by
which the kernel programs know the proxy's legs. Towards servers the proxy is the pod, with ports
of the range that pods do not draw from: two legs never share a tuple.
"""

from __future__ import annotations

import array
import contextlib
import errno
import socket
import struct
from dataclasses import dataclass

from cilium_core.addresses import Address
from cilium_core.marks import Mark

# Not in the standard library's `socket`: linux/in.h, linux/in6.h, asm-generic/socket.h.
IP_PKTINFO = 8
IP_RECVORIGDSTADDR = 20
IP_BIND_ADDRESS_NO_PORT = 24
IP_LOCAL_PORT_RANGE = 51
IPV6_CHECKSUM = 7
IPV6_RECVORIGDSTADDR = 74
IPV6_TRANSPARENT = 75
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33

PROXY_PORTS = (61000, 65535)
RECEIVE_BUFFER = 4 << 20
BACKLOG = 1024
_PORT_RANGE = struct.pack("=I", PROXY_PORTS[1] << 16 | PROXY_PORTS[0])
_UDP_HEADER = struct.Struct("!HHHH")
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Place:
    """An address and a port."""

    address: Address
    port: int

    @property
    def pair(self) -> tuple[str, int]:
        """As the socket module wants it."""
        return str(self.address), self.port


def udp_listener(version: int, port: int) -> socket.socket:
    """Return a datagram listener of an IP version that also tells where datagrams were sent."""
    made = _transparent(version, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        if version == 4:
            made.setsockopt(socket.SOL_IP, IP_RECVORIGDSTADDR, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
        made.bind((LOOPBACK[version], port))
    except OSError:
        made.close()
        raise
    return made


def tcp_listener(version: int, port: int) -> socket.socket:
    """Return a listener of an IP version; a connection's own name is where it was meant to go."""
    made = _transparent(version, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((LOOPBACK[version], port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def as_client(client: Address, kind: socket.SocketKind) -> socket.socket:
    """Return a socket with the client's address and, once connected, a port of the proxy's."""
    made = _transparent(client.version, kind)
    try:
        made.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, _PORT_RANGE)
        if kind == socket.SOCK_STREAM:
            # The port is chosen with the server in mind, and is free again at once: 4 500 ports
            # would be used up by 75 connections a second that each rest a minute.
            made.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        made.bind((str(client), 0))
    except OSError:
        made.close()
        raise
    return made


class AnswerSender:
    """Sends datagrams from any address and port.

    Raw sockets, one for each IP version, that receive nothing: a datagram socket bound to a
    server's address would take packets away from a server on this node.
    """

    def __init__(self) -> None:
        """Open what this machine has; one without IPv6 has one socket."""
        self._sockets: dict[int, socket.socket] = {}
        for version in (4, 6):
            with contextlib.suppress(_NoFamily):
                self._sockets[version] = self._open(version)

    def close(self) -> None:
        """Close them."""
        for one in self._sockets.values():
            one.close()

    def send(self, source: Place, target: Place, payload: bytes) -> None:
        """Send; OSError when the kernel does not."""
        size = _UDP_HEADER.size + len(payload)
        header = _UDP_HEADER.pack(source.port, target.port, size, 0)
        raw, packed = self._sockets[source.address.version], source.address.packed
        if source.address.version == 4:
            pseudo = packed + target.address.packed + struct.pack("!HH", socket.IPPROTO_UDP, size)
            header = header[:6] + checksum(pseudo + header + payload)
            info = (socket.SOL_IP, IP_PKTINFO, struct.pack("=i4s4x", 0, packed))
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed + bytes(4))
        raw.sendmsg([header, payload], [info], 0, (str(target.address), 0))

    @staticmethod
    def _open(version: int) -> socket.socket:
        made = _transparent(version, socket.SOCK_RAW, socket.IPPROTO_UDP)
        try:
            # A filter of one instruction, "take nothing": else it gets a copy of every datagram.
            program = array.array("B", struct.pack("=HBBI", 0x06, 0, 0, 0))
            location, _ = program.buffer_info()
            made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, location))
            if version == 6:
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 6)
        except OSError:
            made.close()
            raise
        return made


class _NoFamily(OSError):
    """This machine has no such IP version."""


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum of what a datagram's checksum covers; never zero."""
    total = sum(array.array("H", data + b"\0" * (len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    # The sum does not depend on the byte order, so it is in this machine's. Zero means "none".
    return struct.pack("=H", ~total & 0xFFFF or 0xFFFF)


def _transparent(version: int, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    try:
        made = socket.socket(_FAMILIES[version], kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise _NoFamily(*error.args) from error
        raise
    try:
        if version == 4:
            made.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(Mark.DNS_PROXY))
    except OSError:
        made.close()
        raise
    return made
