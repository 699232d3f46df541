# SPDX-License-Identifier: Apache-2.0
"""Reads what a client asks, and writes the replies that are the proxy's own. Pure.

Only the header and the question are read: all else of a query is the server's to judge and is
handed on as it came.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.exception
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.wire

HEADER = struct.Struct("!HHHHHH")
_QUESTION_TAIL = struct.Struct("!HH")
_RESPONSE = 0x8000
_OPCODE = 0x7800
_COPIED = _OPCODE | 0x0100 | 0x0010  # opcode, RD and CD come back as they were sent
_RECURSION_AVAILABLE = 0x0080
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class NotAQuestion(Exception):
    """A message that is not one query. `reply` tells the sender so, where it can be told."""

    def __init__(self, reason: str, reply: bytes | None = None) -> None:
        """Keep the reply; the reason is for counting."""
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Question:
    """One query: its bytes, the question's name in small letters with the final dot, its type."""

    wire: bytes
    name: str
    qtype: int
    end: int  # where the question section ends in `wire`

    @property
    def qtype_text(self) -> str:
        """The type as people write it; `TYPE65280` for one without a name."""
        return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(self.qtype))

    def with_id(self, number: int) -> bytes:
        """Return the query under another id."""
        return number.to_bytes(2, "big") + self.wire[2:]

    def restored(self, answer: bytes) -> bytes:
        """Return an answer under the id that the client knows."""
        return self.wire[:2] + answer[2:]

    def refusal(self, rcode: int) -> bytes:
        """Return a reply that has nothing but a response code."""
        number, flags = struct.unpack_from("!HH", self.wire)
        flags = _RESPONSE | flags & _COPIED | _RECURSION_AVAILABLE | rcode
        return HEADER.pack(number, flags, 1, 0, 0, 0) + self.wire[HEADER.size : self.end]


def read(wire: bytes) -> Question:
    """Return the question of a message. NotAQuestion for everything that is not one."""
    if len(wire) < HEADER.size:
        raise NotAQuestion("short")
    number, flags, count, *_ = HEADER.unpack_from(wire)
    if flags & _RESPONSE:
        raise NotAQuestion("response")  # answering answers would make loops
    if count != 1:
        raise NotAQuestion("not one question", _format_error(number, flags))
    parser = dns.wire.Parser(wire, HEADER.size)
    try:
        name = parser.get_name(decompress=False)
        qtype, _ = _QUESTION_TAIL.unpack(parser.get_bytes(_QUESTION_TAIL.size))
    except dns.exception.DNSException:
        raise NotAQuestion("malformed", _format_error(number, flags)) from None
    question = Question(bytes(wire), name.to_text().lower(), qtype, parser.current)
    if qtype in TRANSFERS:  # a transfer is many answers, and nobody looks addresses up by it
        raise NotAQuestion("transfer", question.refusal(dns.rcode.NOTIMP))
    return question


def _format_error(number: int, flags: int) -> bytes:
    flags = _RESPONSE | flags & _COPIED | _RECURSION_AVAILABLE | dns.rcode.FORMERR
    return HEADER.pack(number, flags, 0, 0, 0, 0)
