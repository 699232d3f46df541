# SPDX-License-Identifier: Apache-2.0
"""The ends of the DNS suite, each a process of its own: server and client.

`python -m bench.dns_ends ROLE …`. Every answer has the next address of 10.0.0.0/8. The agent
(`bench.dns_agent`) marks in a shared file which addresses the kernel knows; the client looks there
as soon as an answer is in its hands.
"""

from __future__ import annotations

import json
import mmap
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SERVER = ("10.77.2.2", 53)
PORT = 10053
ADDRESSES = 1 << 20
NAMES = 50
_HEAD = struct.Struct("!HHHHHH")


def query(number: int) -> bytes:
    """Return a query for one of a few names."""
    labels = (b"n%d" % (number % NAMES), b"allowed", b"test")
    name = b"".join(bytes([len(label)]) + label for label in labels)
    return _HEAD.pack(number & 0xFFFF, 0x0100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"


def serve(changing: bool) -> None:
    """Answer every query with one address: the next one, or always the same."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(SERVER)
    print("up", flush=True)
    number = 1
    while True:
        wire, client = udp.recvfrom(4096)
        end = wire.index(b"\0", 12) + 5
        number = (number + changing) % ADDRESSES or 1
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + (10 << 24 | number).to_bytes(4, "big")
        head = wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
        udp.sendto(head + wire[12:end] + record, client)


def marks(path: Path) -> mmap.mmap:
    """Return the file in which addresses are marked, as memory."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), ADDRESSES)


def one_by_one(count: int, state: Path) -> dict[str, Any]:
    """Ask one question after the other; return seconds, losses and answers before their time."""
    told = marks(state / "marks")
    seconds, lost, early = [], 0, 0
    with _client() as client:
        client.settimeout(2)
        for number in range(count):
            wire = query(number)
            began = time.perf_counter()
            client.send(wire)
            try:
                answer = client.recv(4096)
            except TimeoutError:
                lost += 1
                continue
            early += not told[int.from_bytes(answer[-3:], "big")]
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "lost": lost, "early": early}


def together(count: int, width: int) -> dict[str, Any]:
    """Keep `width` questions in hand; return answers a second."""
    poll = select.epoll()
    clients = {client.fileno(): client for client in (_client() for _ in range(width))}
    for number, (descriptor, client) in enumerate(clients.items()):
        poll.register(descriptor, select.EPOLLIN)
        client.send(query(number))
    done, began = 0, time.perf_counter()
    while done < count and (ready := poll.poll(2)):
        for descriptor, _ in ready:
            clients[descriptor].recv(4096)
            done += 1
            clients[descriptor].send(query(done))
    return {"rate": done / (time.perf_counter() - began), "lost": max(0, count - done)}


def _client() -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(SERVER)
    return client


ROLES: dict[str, Callable[[list[str]], object]] = {
    "server": lambda words: serve(words[0] == "changing"),
    "one-by-one": lambda words: one_by_one(int(words[0]), Path(words[1])),
    "together": lambda words: together(int(words[0]), int(words[1])),
}

if __name__ == "__main__":
    print(json.dumps(ROLES[sys.argv[1]](sys.argv[2:])))
