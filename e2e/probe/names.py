# SPDX-License-Identifier: Apache-2.0
"""Names whose addresses change: a DNS server, and lookups that are each followed by a connection.

The server answers `192-0-2-1.ZONE` with that address and `next….ZONE` with another address each
time. The client connects as soon as it has an answer; a connection whose first packet was dropped
counts as refused, though it would have succeeded a second later.
"""

import asyncio
import ipaddress
import itertools
import random
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from e2e.probe import dns, server

TOTAL_RETRANSMITS = 100  # offset in struct tcp_info
ASK_SECONDS = 2.0
ASKS = 3
SHOWN = 5


def reply(packet: bytes, following: Iterator[int], ttl: int) -> bytes:
    """The answer to a question; a name that means no address has none. Pure but for `following`."""
    ident, _, _, _, _, _ = struct.unpack_from("!HHHHHH", packet)
    end = packet.index(b"\0", 12) + 5
    label = packet[13 : 13 + packet[12]].decode("ascii", "replace").lower()
    (record_type,) = struct.unpack_from("!H", packet, end - 4)
    found = b""
    if record_type == dns.A:
        try:
            chosen = next(following) if label.startswith("next") else label.replace("-", ".")
            raw = ipaddress.IPv4Address(chosen).packed
            found = b"\xc0\x0c" + struct.pack("!HHIH", dns.A, 1, ttl, len(raw)) + raw
        except ValueError:
            pass
    head = struct.pack("!HHHHHH", ident, 0x8580, 1, bool(found), 0, 0)
    return head + packet[12:end] + found


class _Dns(asyncio.DatagramProtocol):
    def __init__(self, first: str, ttl: int) -> None:
        self._following = itertools.count(int(ipaddress.IPv4Address(first)))
        self._ttl = ttl

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A selector loop's transport is one by its methods only, until Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(reply(data, self._following, self._ttl), addr)


async def serve(first: str, ttl: int) -> None:
    """Answer on port 53, and on 8080 for who asks whether this is ready, until SIGTERM."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Dns(first, ttl), local_addr=("0.0.0.0", 53))
    await server.serve((), (), 8080)


@dataclass
class Found:
    """What became of the lookups. Seconds are of all of them together."""

    lookups: int = 0
    connected: int = 0
    unanswered: int = 0
    refused: list[str] = field(default_factory=list)  # the first ones, with why
    refusals: int = 0
    seconds: float = 0.0
    addresses: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


async def look_up(where: str, zone: str, port: int, count: int, width: int) -> Found:
    """Look changing names up, `width` at a time, and connect to each answer at once."""
    found, numbers, seen = Found(), iter(range(count)), set[str]()
    begun = time.monotonic()
    await asyncio.gather(*(_worker(where, zone, port, numbers, found, seen) for _ in range(width)))
    found.seconds, found.addresses = round(time.monotonic() - begun, 3), len(seen)
    return found


async def _worker(
    where: str, zone: str, port: int, numbers: Iterator[int], found: Found, seen: set[str]
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        await loop.sock_connect(udp, (where, 53))
        for number in numbers:
            found.lookups += 1
            address = await _ask(udp, f"next{number}.{zone}")
            if address is None:
                found.unanswered += 1
                continue
            seen.add(address)
            error = await _connect(address, port)
            if error:
                found.refusals += 1
                found.refused = [*found.refused, f"{address}: {error}"][:SHOWN]
            else:
                found.connected += 1


async def _ask(udp: socket.socket, name: str) -> str | None:
    loop = asyncio.get_running_loop()
    for _ in range(ASKS):
        ident = random.randrange(65536)
        await loop.sock_sendall(udp, dns.question(ident, name, dns.A))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                while (answer := dns.answer(await loop.sock_recv(udp, 4096))).ident != ident:
                    pass
            return answer.addresses[0] if answer.addresses else None
        except TimeoutError:
            continue
    return None


async def _connect(address: str, port: int) -> str:
    """Why a connection did not come at once; empty when it did."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as tcp:
        try:
            async with asyncio.timeout(5):
                await loop.sock_connect(tcp, (address, port))
        except (OSError, TimeoutError) as error:
            return repr(error)
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (again,) = struct.unpack_from("=I", info, TOTAL_RETRANSMITS)
        return f"{again} packets were sent again" if again else ""
