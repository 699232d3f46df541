# SPDX-License-Identifier: Apache-2.0
"""DNS questions and answers on the wire, as little as a probe needs. Pure functions."""

import ipaddress
import struct
from dataclasses import dataclass
from pathlib import Path

A = 1
AAAA = 28


@dataclass(frozen=True)
class Answer:
    """The response code (0: no error) and the A or AAAA addresses of an answer."""

    ident: int
    rcode: int
    addresses: tuple[str, ...]


def question(ident: int, name: str, record_type: int) -> bytes:
    """A recursive question for the name, class IN."""
    labels = [label.encode("idna") for label in name.rstrip(".").split(".")]
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return (
        struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0)
        + encoded
        + struct.pack("!HH", record_type, 1)
    )


def answer(packet: bytes) -> Answer:
    """The answer in a response; ValueError when the packet is not a whole response."""
    try:
        ident, flags, questions, answers = struct.unpack_from("!HHHH", packet)
        if not flags & 0x8000:
            raise ValueError("the packet is a question, not a response")
        at = 12
        for _ in range(questions):
            at = _after_name(packet, at) + 4
        addresses = []
        for _ in range(answers):
            at = _after_name(packet, at)
            record_type, _class, _ttl, length = struct.unpack_from("!HHIH", packet, at)
            at += 10
            if record_type in (A, AAAA):
                addresses.append(str(ipaddress.ip_address(packet[at : at + length])))
            at += length
    except (struct.error, IndexError) as error:
        raise ValueError(f"the response is cut off: {error}") from error
    return Answer(ident, flags & 0xF, tuple(addresses))


def _after_name(packet: bytes, at: int) -> int:
    while True:
        length = packet[at]
        if length == 0:
            return at + 1
        if length & 0xC0:
            return at + 2
        at += length + 1


def nameserver(resolv_conf: Path = Path("/etc/resolv.conf")) -> str:
    """The first nameserver that the pod was given."""
    for line in resolv_conf.read_text().splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            return words[1]
    raise ValueError(f"{resolv_conf} names no nameserver")
