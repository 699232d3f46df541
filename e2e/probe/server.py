# SPDX-License-Identifier: Apache-2.0
"""TCP echo, UDP echo and HTTP on every address of the pod, both families.

One asyncio loop serves all; connections may stay open for as long as the client likes.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence
from typing import cast

from e2e.probe.http_server import serve_connection


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(262144):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return  # the client went away; nobody is left to tell
    except asyncio.CancelledError:
        return  # the server stops; asyncio's streams would log this as an error
    finally:
        writer.close()


class _UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def _udp(port: int) -> None:
    loop = asyncio.get_running_loop()
    families = [(socket.AF_INET, "0.0.0.0")]
    if socket.has_dualstack_ipv6():
        families.append((socket.AF_INET6, "::"))
    for family, host in families:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        await loop.create_datagram_endpoint(_UdpEcho, sock=sock)


async def serve(
    tcp_ports: Sequence[int] = (7000,), udp_ports: Sequence[int] = (7000,), http_port: int = 8080
) -> None:
    """Serve until SIGTERM or SIGINT. Ports of 0 are not served."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    for port in filter(None, tcp_ports):
        await asyncio.start_server(_echo, None, port, backlog=1024)
    for port in filter(None, udp_ports):
        await _udp(port)
    if http_port:
        await asyncio.start_server(serve_connection, None, http_port, backlog=1024)
    tcp, udp = (" ".join(map(str, ports)) for ports in (tcp_ports, udp_ports))
    print(f"serving TCP {tcp}, UDP {udp}, HTTP {http_port}", flush=True)
    await told.wait()
