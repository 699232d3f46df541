# SPDX-License-Identifier: Apache-2.0
"""Reads what a server answers: whether it answers the question, and with which addresses. Pure.

The library reads names and records. Two things are this module's own: it reads the answer section
and skips what it has no use for, and it has a budget. 64 KiB of records whose names share long
tails would otherwise be seconds of work, in a process that all pods of a node wait for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import dns.exception
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.wire

from cilium_core.addresses import Address
from cilium_proxy.dns.questions import HEADER, Question

READS = 30_000  # pieces of names and records; a full 64 KiB of addresses of one name takes 18 000
LONGEST_CHAIN = 32
_RECORD = struct.Struct("!HHIH")
_RESPONSE = 0x8000
_OPCODE = 0x7800
_LARGEST_TTL = 0x7FFFFFFF
_SIZES = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says. `whole` is false when a part of it could not be read."""

    rcode: int
    addresses: tuple[Address, ...] = ()
    ttl: int = 0  # the smallest on the way to the addresses
    cnames: tuple[str, ...] = ()
    rrtypes: tuple[str, ...] = ()
    whole: bool = True


@dataclass(slots=True)
class _Found:
    """Records of the answer section by owner. The library's names compare without case."""

    addresses: dict[dns.name.Name, dict[Address, int]] = field(default_factory=dict)
    aliases: dict[dns.name.Name, tuple[dns.name.Name, int]] = field(default_factory=dict)
    types: dict[int, None] = field(default_factory=dict)


class _TooMuch(dns.exception.FormError):
    """The message takes more work than any honest one."""


class _Reader(dns.wire.Parser):
    """The library's reader with a budget, and with a memory for names that are one pointer."""

    def __init__(self, wire: bytes, start: int) -> None:
        super().__init__(wire, start)
        self._left = READS
        self._names: dict[bytes, dns.name.Name] = {}

    def get_bytes(self, size: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        return super().get_bytes(size)

    def owner(self) -> dns.name.Name:
        pointer = self.wire[self.current : self.current + 2]
        if len(pointer) < 2 or pointer[0] < 0xC0:
            return self.get_name(decompress=True)
        known = self._names.get(pointer)
        if known is None:
            known = self._names[pointer] = self.get_name(decompress=True)
        else:
            self.get_bytes(2)
        return known


def belongs(question: Question, number: int, wire: bytes) -> bool:
    """Return whether a message answers the question that was sent under an id.

    A server that could not read the question may leave it out; such an answer has no records.
    """
    if len(wire) < HEADER.size:
        return False
    got, flags, questions, answers, *_ = HEADER.unpack_from(wire)
    asked = int.from_bytes(question.wire[2:4], "big")
    if got != number or not flags & _RESPONSE or (flags ^ asked) & _OPCODE:
        return False
    if questions == 0:
        return answers == 0 and bool(flags & 0xF)
    start, end = HEADER.size, question.end
    return (
        questions == 1
        and wire[end - 4 : end] == question.wire[end - 4 : end]
        and wire[start : end - 4].lower() == question.wire[start : end - 4].lower()
    )


def read(question: Question, wire: bytes) -> Answer:
    """Return what an answer that `belongs` says; never fails.

    Addresses count when their owner is the question's name or what it is an alias of, in whatever
    order the records come. What cannot be read opens nothing, and the client gets it all the same.
    """
    _, flags, questions, count, *_ = HEADER.unpack_from(wire)
    rcode = flags & 0xF
    if not questions or not count:
        return Answer(rcode)
    found, whole = _Found(), True
    reader = _Reader(wire, HEADER.size)
    name = dns.name.root
    try:
        name = reader.get_name(decompress=True)
        reader.get_bytes(4)
        for _ in range(count):
            _record(reader, found)
    except dns.exception.DNSException:
        whole = False
    return _followed(name, found, rcode, whole)


def _record(reader: _Reader, found: _Found) -> None:
    owner = reader.owner()
    rdtype, rdclass, ttl, size = _RECORD.unpack(reader.get_bytes(_RECORD.size))
    start = reader.current
    if ttl > _LARGEST_TTL:
        ttl = 0  # RFC 2181, 8
    found.types[rdtype] = None
    if rdclass == dns.rdataclass.IN and _SIZES.get(rdtype) == size:
        raw = reader.get_bytes(size)
        address: Address = IPv4Address(raw) if size == 4 else IPv6Address(raw)
        known = found.addresses.setdefault(owner, {})
        known[address] = min(ttl, known.get(address, ttl))
    elif rdclass == dns.rdataclass.IN and rdtype == dns.rdatatype.CNAME:
        target = reader.get_name(decompress=True)
        if reader.current != start + size:
            raise dns.exception.FormError
        found.aliases.setdefault(owner, (target, ttl))
    else:
        reader.get_bytes(size)


def _followed(name: dns.name.Name, found: _Found, rcode: int, whole: bool) -> Answer:
    addresses: dict[Address, None] = {}
    cnames: list[str] = []
    ttls: list[int] = []
    for _ in range(LONGEST_CHAIN):
        for address, ttl in found.addresses.pop(name, {}).items():
            addresses[address] = None
            ttls.append(ttl)
        if name not in found.aliases:
            break
        name, ttl = found.aliases.pop(name)
        cnames.append(name.to_text().lower())
        ttls.append(ttl)
    types = (dns.rdatatype.RdataType.make(number) for number in found.types)
    return Answer(
        rcode,
        tuple(addresses),
        min(ttls, default=0),
        tuple(cnames),
        tuple(map(dns.rdatatype.to_text, types)),
        whole,
    )
