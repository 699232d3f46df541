# SPDX-License-Identifier: Apache-2.0
"""Broken messages: no exception, no unbounded work, and never an address that is not there.

A mutator works on a corpus of real messages, with a seed; `make soak` runs it for longer. Where
the library reads a whole message, what was read of it is held against the library.
"""

from __future__ import annotations

import os
import random
import time
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import hypothesis.strategies as st
import pytest
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from hypothesis import given

from cilium_proxy.dns import answers, questions
from cilium_proxy.dns.questions import NotAQuestion

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
SECONDS = 600.0 if SOAK else 6.0
SLOWEST = 0.5

QUERY = dns.message.make_query("www.example.com", "A", use_edns=0, payload=4096, want_dnssec=True)
QUESTION = questions.read(QUERY.to_wire())


def corpus() -> list[bytes]:
    made = dns.message.make_response(QUERY)
    made.answer = [
        dns.rrset.from_text("www.example.com.", 60, "IN", "CNAME", "a.cdn.example."),
        dns.rrset.from_text("a.cdn.example.", 60, "IN", "A", "192.0.2.1", "192.0.2.2"),
        dns.rrset.from_text("a.cdn.example.", 60, "IN", "AAAA", "2001:db8::1"),
        dns.rrset.from_text("a.cdn.example.", 60, "IN", "HTTPS", "1 . alpn=h2 ipv4hint=192.0.2.9"),
    ]
    made.authority = [dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example.")]
    plain = dns.message.make_response(QUERY)
    plain.answer = [dns.rrset.from_text("www.example.com.", 5, "IN", "A", "192.0.2.5")]
    update = dns.message.make_query("example.com", "SOA")
    return [m.to_wire() for m in (QUERY, made, plain, dns.message.make_response(QUERY), update)]


def mutate(source: random.Random, wire: bytearray, others: list[bytes]) -> None:
    """Change bytes, counts, lengths and pointers; cut, double and splice."""
    where = source.randrange(len(wire) or 1)
    match source.randrange(8) if wire else 6:
        case 0:
            wire[where] ^= 1 << source.randrange(8)
        case 1:
            wire[where] = source.choice((0, 1, 12, 63, 64, 0xC0, 0xFF))
        case 2:
            wire[where : where + 2] = source.choice(
                (b"\xc0\x0c", b"\xff\xff", b"\0\0", b"\xc0\x20")
            )
        case 3:
            del wire[where:]
        case 4:
            end = where + source.randrange(1, 40)
            wire[where:where] = wire[where:end] * source.choice((1, 2, 50))
        case 5:
            del wire[where : where + source.randrange(1, 20)]
        case 6:
            other = source.choice(others)
            wire[where:] = other[source.randrange(len(other)) :]
        case _:
            wire[2 * source.randrange(2, 6) + 1 : 13] = bytes([source.randrange(256)])


def check(wire: bytes) -> None:
    try:
        question = questions.read(wire)
    except NotAQuestion as error:
        reply = error.reply
    else:
        reply = question.refusal(5)
    if reply is not None:
        assert dns.message.from_wire(reply).id == int.from_bytes(wire[:2], "big")
    if answers.belongs(QUESTION, QUERY.id, wire):
        found = answers.read(QUESTION, wire)
        raw = bytes(wire)
        assert all(address.packed in raw for address in found.addresses)
        hold_against_library(raw, found)


def hold_against_library(wire: bytes, found: answers.Answer) -> None:
    """Everything that is opened is in a message that the library can read, and under the name."""
    try:
        parsed = dns.message.from_wire(wire, ignore_trailing=True)
        chain = {parsed.question[0].name} if parsed.question else set()
    except (dns.exception.DNSException, ValueError):
        return
    aliases = [rrset for rrset in parsed.answer if rrset.rdtype == dns.rdatatype.CNAME]
    for _ in aliases:
        chain |= {item.target for rrset in aliases if rrset.name in chain for item in rrset}
    there = {
        ip_address(item.address)
        for rrset in parsed.answer
        if isinstance(rrset[0], A | AAAA) and rrset.name in chain
        for item in rrset
    }
    assert set(found.addresses) <= there


@pytest.mark.timeout(2 * SECONDS + 60)
def test_mutated_messages() -> None:
    seed = int(os.environ.get("FUZZ_SEED", "1" if not SOAK else str(time.time_ns())))
    print(f"FUZZ_SEED={seed}")
    source, messages = random.Random(seed), corpus()
    pool, runs, slowest, end = list(messages), 0, 0.0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        wire = bytearray(source.choice(pool))
        for _ in range(source.randrange(1, 6)):
            mutate(source, wire, messages)
        del wire[65535:]
        began = time.process_time()
        check(bytes(wire))
        slowest = max(slowest, time.process_time() - began)
        runs += 1
        if answers.belongs(QUESTION, QUERY.id, bytes(wire)):
            pool[source.randrange(len(messages), 400) : 400] = [bytes(wire)]
    print(f"{runs} messages, slowest {slowest * 1000:.1f} ms")
    assert slowest < SLOWEST
    assert runs > 1000


@given(st.binary(max_size=600))
def test_noise(noise: bytes) -> None:
    check(noise)
    check(QUERY.to_wire()[:2] + b"\x84\0" + noise)


@given(st.binary(max_size=300), st.integers(0, 65535))
def test_noise_as_records(noise: bytes, count: int) -> None:
    head = dns.message.make_response(QUERY).to_wire()[: QUESTION.end]
    check(head[:6] + count.to_bytes(2, "big") + bytes(4) + head[12:] + noise)
